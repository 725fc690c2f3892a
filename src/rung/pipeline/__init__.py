"""The main job, stage after stage: data, plan, training, evaluation, report; and what is done with a run afterwards.

How it works, in reading order: ``settings.py`` (what the user asked for), ``training.py`` (:func:`train` and
:func:`resume`), ``description.py`` (what ``run.json`` says), ``recorder.py`` and ``interrupts.py`` (while it trains),
``judging.py`` (the test split, once), ``afterwards.py`` (:func:`evaluate` and :func:`report`), ``diagnosing.py``
(:func:`diagnose`), ``fixing.py`` (:func:`train_and_fix`), ``comparing.py`` (:func:`compare`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rung.pipeline.afterwards import evaluate as evaluate
    from rung.pipeline.afterwards import report as report
    from rung.pipeline.comparing import compare as compare
    from rung.pipeline.diagnosing import diagnose as diagnose
    from rung.pipeline.exploring import Exploration as Exploration
    from rung.pipeline.exploring import explore as explore
    from rung.pipeline.fixing import train_and_fix as train_and_fix
    from rung.pipeline.training import resume as resume
    from rung.pipeline.training import train as train

# Imported when they are used: whoever only looks for a run's data does not need torch.
_HOMES = {
    "compare": "comparing",
    "Exploration": "exploring",
    "diagnose": "diagnosing",
    "train_and_fix": "fixing",
    "evaluate": "afterwards",
    "explore": "exploring",
    "report": "afterwards",
    "resume": "training",
    "train": "training",
}

__all__ = ["Exploration", "compare", "diagnose", "evaluate", "explore", "report", "resume", "train", "train_and_fix"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
