"""rung: the most accurate CNN that this computer can train in the time you have.

    >>> import rung
    >>> run = rung.train("digits", budget="20s")
    >>> run.evaluation.accuracy
    >>> run.report()

Names are imported when they are first used, so that importing rung costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rung.data import load
    from rung.errors import DataError, RunError, RungError, UsageError
    from rung.estimator import ImageClassifier
    from rung.export.exporting import export_run
    from rung.ladder import Climb, climb
    from rung.pipeline import compare, diagnose, evaluate, explore, resume, train, train_and_fix
    from rung.prediction import predict
    from rung.runs import Run
    from rung.serving.server import serve

__version__ = "0.1.0"

_HOMES = {
    "load": "rung.data",
    "train": "rung.pipeline",
    "climb": "rung.ladder",
    "Climb": "rung.ladder",
    "train_and_fix": "rung.pipeline",
    "resume": "rung.pipeline",
    "evaluate": "rung.pipeline",
    "compare": "rung.pipeline",
    "export_run": "rung.export.exporting",
    "diagnose": "rung.pipeline",
    "explore": "rung.pipeline",
    "predict": "rung.prediction",
    "ImageClassifier": "rung.estimator",
    "serve": "rung.serving.server",
    "Run": "rung.runs",
    "RungError": "rung.errors",
    "DataError": "rung.errors",
    "UsageError": "rung.errors",
    "RunError": "rung.errors",
}

__all__ = [
    "Climb",
    "DataError",
    "ImageClassifier",
    "Run",
    "RunError",
    "RungError",
    "UsageError",
    "climb",
    "compare",
    "diagnose",
    "evaluate",
    "explore",
    "export_run",
    "load",
    "predict",
    "resume",
    "serve",
    "train",
    "train_and_fix",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rung' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
