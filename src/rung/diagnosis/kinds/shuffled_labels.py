"""Shuffled labels: they have nothing to do with the images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.evaluation.intervals import wilson

EXPLAINS: frozenset[str] = frozenset({"wrong_labels", "indistinct_classes"})

# Images below which chance and a weak network cannot be told apart.
LEAST = 500
# Accuracy above the commonest class's share that the interval must exclude, as a share of what is left above it.
ABOVE = 0.05


def find(evidence: Evidence) -> Iterator[Finding]:
    """Whether networks do better on images that they have not seen than always giving the commonest answer."""
    known = evidence.out_of_fold
    if known is None or len(known.labels) < LEAST:
        return
    count = len(known.labels)
    majority = float(np.bincount(known.labels).max() / count)
    low, high = wilson(round(known.accuracy * count), count)
    if high > majority + ABOVE * (1 - majority):
        return
    yield Finding(
        kind="shuffled_labels",
        severity="serious",
        statement=(
            f"The labels look shuffled: networks get {known.accuracy:.1%} of unseen images right (95 % interval "
            f"{low:.1%} to {high:.1%}), no more than the {majority:.1%} of always answering the commonest class."
        ),
        remedy=Remedy(
            "Check how labels and images were brought together: a sorted or shuffled list, an offset by one."
        ),
        cost=0.9 - majority,
        evidence={"accuracy": known.accuracy, "interval": [low, high], "majority": majority, "images": count},
        reference="Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017",
    )
