"""The evaluation of a run: what ``evaluation.json`` holds, as a dataclass."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ClassScores:
    """How one class did. Every score is a fraction from 0 to 1."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions whose confidence lies in (lower, upper]: how sure they were and how often right."""

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics on the test split. Fractions run from 0 to 1, losses are in nats, times in seconds.

    ``accuracy_interval`` is the 95 % Wilson score interval. ``confusion_matrix[t][p]`` counts the images
    of class ``t`` that were predicted as ``p``. ``top5_accuracy`` is None with five classes or fewer.
    ``expected_calibration_error`` uses fifteen bins of equal width.
    """

    classes: tuple[str, ...]
    test_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    per_class: tuple[ClassScores, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    top5_accuracy: float | None
    log_loss: float
    expected_calibration_error: float
    reliability: tuple[ReliabilityBin, ...]
    train_accuracy: float
    val_accuracy: float
    val_accuracy_interval: tuple[float, float]
    seconds: float
    wall_seconds: float
    images_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluation:
        """The inverse of :meth:`to_dict`; unknown keys are ignored, so newer files stay readable."""
        known = {name: values[name] for name in cls.__dataclass_fields__}
        known["classes"] = tuple(known["classes"])
        known["accuracy_interval"] = tuple(known["accuracy_interval"])
        known["val_accuracy_interval"] = tuple(known["val_accuracy_interval"])
        known["per_class"] = tuple(ClassScores(**row) for row in known["per_class"])
        known["confusion_matrix"] = tuple(tuple(row) for row in known["confusion_matrix"])
        known["reliability"] = tuple(ReliabilityBin(**row) for row in known["reliability"])
        return cls(**known)
