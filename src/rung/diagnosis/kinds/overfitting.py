"""Overfitting: the network knows its training images by heart, and others less well."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = frozenset({"miscalibration"})

# Share of the training images that is answered right, and how far validation stays below it.
KNOWN, GAP = 0.97, 0.10


def find(evidence: Evidence) -> Iterator[Finding]:
    """The gap between training and validation accuracy, where the training images are almost all known."""
    train, val = evidence.train, evidence.val
    if train is None or val is None or train.accuracy < KNOWN or train.accuracy - val.accuracy < GAP:
        return
    gap = train.accuracy - val.accuracy
    yield Finding(
        kind="overfitting",
        severity="warning",
        statement=(
            f"Overfitting: {train.accuracy:.1%} of the training images are answered right, but {val.accuracy:.1%} of "
            f"the validation images, {100 * gap:.1f} points fewer."
        ),
        remedy=Remedy("Train on more images, or vary those that there are more strongly."),
        cost=gap / 2,
        evidence={"train_accuracy": train.accuracy, "val_accuracy": val.accuracy, "gap": gap},
        reference="Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017",
    )
