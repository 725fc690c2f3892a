"""Overfitting: the network knows its training images by heart, and others less well."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.signals import noise

EXPLAINS: frozenset[str] = frozenset({"miscalibration", "wasted_time", "wrong_labels", "indistinct_classes"})

# Share of the validation error that is left on training images, at most, and the points between the two, at least.
ERROR_RATIO, GAP = 0.35, 0.05


def find(evidence: Evidence) -> Iterator[Finding]:
    """The gap between training and validation accuracy, where little is wrong on the training images."""
    train, val = evidence.train, evidence.val
    if train is None or val is None:
        return
    gap = train.accuracy - val.accuracy
    if gap < max(GAP, 2 * noise(val)) or 1 - train.accuracy > ERROR_RATIO * (1 - val.accuracy):
        return
    yield Finding(
        kind="overfitting",
        severity="warning",
        statement=(
            f"Overfitting: it knows {train.accuracy:.1%} of the training images, but only {val.accuracy:.1%} of the "
            f"validation images, {100 * gap:.0f} points fewer."
        ),
        remedy=Remedy(
            "Vary the training images more strongly, so that none is seen twice alike; more images help most.",
            evidence.command(augment="strong"),
            {"augment": "strong"},
        ),
        cost=gap / 3,
        evidence={"train_accuracy": train.accuracy, "val_accuracy": val.accuracy, "gap": gap, "chart": "accuracy"},
        reference="Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017",
    )
