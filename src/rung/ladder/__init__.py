"""The climb: many runs under equal conditions, each step of which differs from another by one idea.

How it works, in reading order: ``steps.py`` (what is trained, and what it is compared with), ``allocation.py`` (how
the budget is shared out), ``climbing.py`` (the trainings, one after the other), ``folder.py`` (what is on disk),
``results.py`` and ``words.py`` (what came out, in figures and in sentences).
"""

from rung.ladder.climbing import climb, resume
from rung.ladder.folder import Climb

__all__ = ["Climb", "climb", "resume"]
