"""From evidence to findings: every kind is asked, causes swallow their consequences, the worst comes first."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from rung.diagnosis.evidence import Evidence, evidence_of
from rung.diagnosis.finding import Finding, worst_first
from rung.diagnosis.kinds import Kind, kinds
from rung.runs import FINDINGS, Run


def examine(evidence: Evidence) -> tuple[Finding, ...]:
    """Every problem that the evidence shows, worst first."""
    asked = kinds()
    found = [finding for kind in asked.values() for finding in kind.find(evidence)]
    return worst_first(_without_consequences(found, asked))


def diagnose_run(run: Run | str | os.PathLike[str]) -> tuple[Finding, ...]:
    """What is wrong with a run, from the files in its folder alone; takes well under a second.

    Args:
        run: a run, or its folder; one that was judged on its validation split alone will do.

    Returns:
        The findings, worst first.

    Raises:
        RunError: it is no run, or a file of it is damaged.
    """
    return examine(evidence_of(run if isinstance(run, Run) else Run(run)))


def write_findings(run: Run) -> tuple[Finding, ...]:
    """Diagnose a run and keep what is found in ``findings.json`` of its folder.

    Raises:
        RunError: a file of it is damaged, or the folder cannot be written to.
    """
    findings = diagnose_run(run)
    run.write_json(FINDINGS, {"findings": [finding.to_dict() for finding in findings]})
    return findings


def _without_consequences(found: Iterable[Finding], asked: dict[str, Kind]) -> list[Finding]:
    """The findings that none of the others explains; each that explains some names them.

    Where two kinds explain each other, the one that stands first in the list of kinds is the cause.
    """
    found, order = list(found), list(asked)

    def explains(cause: str, other: str) -> bool:
        mutual = cause in asked[other].EXPLAINS and order.index(other) < order.index(cause)
        return other in asked[cause].EXPLAINS and not mutual

    kept = []
    for finding in found:
        if any(explains(cause.kind, finding.kind) for cause in found):
            continue
        also = [other.kind for other in found if explains(finding.kind, other.kind)]
        kept.append(replace(finding, evidence={**finding.evidence, "also": also}) if also else finding)
    return kept
