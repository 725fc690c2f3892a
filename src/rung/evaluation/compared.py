"""What a comparison of runs says, as plain values; ``rung.compare`` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rung.evaluation.bootstrap import Change
from rung.evaluation.comparison import PairedDifference


@dataclass(frozen=True)
class Contender:
    """A run in a comparison, and its price.

    Attributes:
        name: its folder's name, or as much of its path as tells it from the others.
        path: its folder.
        network: the network in words, where the run says so.
        seed: that it was trained with.
        parameters: weights of the network.
        multiply_adds: of one image going through it.
        bytes: of the file of weights.
        seconds: of training.
        wall_seconds: of the whole command.
        epochs: passes over the training images.
        accuracy: on the test images, with its 95 % ``interval``.
        train_accuracy, val_accuracy: on the other splits.
        log_loss, brier, overconfidence, calibration_error: see :class:`rung.evaluation.bootstrap.Scores`.

    What a run does not tell is None.
    """

    name: str
    path: Path
    network: str | None
    seed: int | None
    parameters: int | None
    multiply_adds: int | None
    bytes: int | None
    seconds: float
    wall_seconds: float
    epochs: float | None
    accuracy: float
    interval: tuple[float, float]
    train_accuracy: float
    val_accuracy: float
    log_loss: float
    brier: float
    overconfidence: float
    calibration_error: float


@dataclass(frozen=True)
class ClassChange:
    """How often images of one class are recognised by the first run and by another.

    ``p_value`` is adjusted for the number of classes (Holm).
    """

    name: str
    images: int
    recall: PairedDifference
    p_value: float


@dataclass(frozen=True)
class Against:
    """A run against the first one.

    Attributes:
        name: of the run.
        accuracy: the paired difference, with McNemar's p-value.
        p_value: that p-value adjusted for the number of runs compared with the first (Holm).
        scores: how ``accuracy`` (a second opinion, by bootstrap), ``log_loss``, ``brier`` and ``overconfidence``
            differ.
        classes: the classes that occur in the test split, in their order.
        gained: positions in the test split of images that only this run gets right, the clearest first.
        lost: of those that only the first run gets right.
        settings: what their recipes differ in: the value of the first run and of this one.
    """

    name: str
    accuracy: PairedDifference
    p_value: float
    scores: Mapping[str, Change]
    classes: tuple[ClassChange, ...]
    gained: tuple[int, ...]
    lost: tuple[int, ...]
    settings: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """Runs that were measured on the same test images: the first, and every other against it."""

    data: str
    images: int
    runs: tuple[Contender, ...]
    against: tuple[Against, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {
            "data": self.data,
            "images": self.images,
            "runs": [{**asdict(run), "path": str(run.path)} for run in self.runs],
            "against_the_first": [
                {
                    **asdict(one),
                    "accuracy": one.accuracy.to_dict(),
                    "scores": {n: {**asdict(c), "difference": c.difference} for n, c in one.scores.items()},
                    "classes": [{**asdict(c), "recall": c.recall.to_dict()} for c in one.classes],
                }
                for one in self.against
            ],
        }
