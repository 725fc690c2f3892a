"""What is wrong with a model and its data, how that shows, and what to do about it.

How it works, in reading order: ``finding.py`` (what is said), ``evidence.py`` (what is looked at), ``kinds/`` (one file
a kind of problem), ``diagnose.py`` (all of them asked, the worst first).
"""

from rung.diagnosis.diagnose import diagnose_run, examine, write_findings
from rung.diagnosis.evidence import Evidence, evidence_of
from rung.diagnosis.finding import Finding, Remedy, worst_first

__all__ = ["Evidence", "Finding", "Remedy", "diagnose_run", "evidence_of", "examine", "worst_first", "write_findings"]
