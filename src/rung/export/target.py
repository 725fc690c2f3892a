"""What can be exported to: a module of this folder each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images
from rung.errors import UsageError
from rung.models.classifier import Classifier
from rung.progress import Progress
from rung.runs import Run

Answers = Callable[[Images], npt.NDArray[np.float32]]
"""From uint8 images (n, H, W, C) to probabilities, float32 (n, K)."""


@dataclass(frozen=True)
class Target:
    """A format that runs are exported to.

    Attributes:
        file: what the file or folder is called if nobody chooses.
        engine: what others run it with, for people.
        requires: the packages that writing and checking it take.
        extra: of rung, that brings them; empty where rung has them anyway.
        write: writes a run, with its classifier, to a path that does not exist yet.
        answers: what the file or folder at a path answers, computed by its own engine and nothing of rung.
        contents: the names of all files in it, if it is a folder; an older export of those names is replaced.
    """

    file: str
    engine: str
    requires: tuple[str, ...]
    extra: str
    write: Callable[[Run, Classifier, Path, Progress], None]
    answers: Callable[[Path], Answers]
    contents: tuple[str, ...] = ()


# A new target is a module with a TARGET, and a line here.
_MODULES = {
    "onnx": "rung.export.onnx",
    "keras": "rung.export.keras",
    "torch": "rung.export.pytorch",
    "web": "rung.export.web",
}

TARGETS = tuple(_MODULES)
"""The names that ``--to`` takes."""


def target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none, or a package that it takes is not installed.
    """
    from rung.export.needs import need

    if name not in _MODULES:
        raise UsageError(f"--to is {name!r}; it must be one of {', '.join(TARGETS)}")
    found: Target = import_module(_MODULES[name]).TARGET
    for package in found.requires:
        need(package, found.extra)
    return found
