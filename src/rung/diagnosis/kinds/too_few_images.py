"""Too few images: so few that accuracy is lost, and that what is left of it cannot be measured well."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = frozenset()

# Training and validation images that three quarters of the classes have at most, where it is told. (A few small classes
# beside large ones are an imbalance.)
USUAL = 50


def find(evidence: Evidence) -> Iterator[Finding]:
    """The images that most classes have."""
    if evidence.look is None or not evidence.look.counts:
        return
    counts = np.array(evidence.look.counts)
    usual, least = float(np.percentile(counts, 75)), int(counts.min())
    if usual >= USUAL:
        return
    yield Finding(
        kind="too_few_images",
        severity="warning",
        statement=(
            f"Too few images: three quarters of the {len(counts)} classes have {usual:.0f} images or fewer to learn "
            f"from, the smallest {least}; with so few, accuracy is lost and its interval is wide."
        ),
        remedy=Remedy(
            f"Collect more images: at least {USUAL} of each class, better some hundreds; or merge or drop the classes "
            "that cannot have them."
        ),
        cost=min(0.3, 0.05 * USUAL / max(usual, 1.0)),
        evidence={"usual": usual, "least": least, "counts": dict(zip(evidence.classes, counts.tolist(), strict=True))},
        reference="Hestness et al., Deep learning scaling is predictable, empirically, 2017 (arXiv:1712.00409)",
    )
