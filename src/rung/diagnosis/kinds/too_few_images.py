"""Too few images: classes that nothing can be learnt from reliably, or measured on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rung.data.labels import few
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = frozenset()

# Training and validation images of a usual class below which the data as a whole is too small, and of a single class.
USUAL, SINGLE = 50, 10


def find(evidence: Evidence) -> Iterator[Finding]:
    """The images of the middle class, and of the smallest."""
    if evidence.look is None or not evidence.look.counts:
        return
    counts = np.array(evidence.look.counts)
    middle, least = float(np.median(counts)), int(counts.min())
    small = [f"{evidence.classes[k]} ({counts[k]})" for k in np.argsort(counts, kind="stable") if counts[k] < SINGLE]
    if middle < USUAL:
        statement = (
            f"Too few images: half of the {len(counts)} classes have {middle:.0f} images or fewer to learn from, the "
            f"smallest {least}; with so few, accuracy is lost and its interval is wide."
        )
    elif small:
        statement = f"Too few images of {few(small)} to learn from: nothing reliable can be said about these classes."
    else:
        return
    yield Finding(
        kind="too_few_images",
        severity="warning",
        statement=statement,
        remedy=Remedy(
            f"Collect more images: at least {USUAL} of each class, better some hundreds; or merge or drop the classes "
            "that cannot have them."
        ),
        cost=min(0.3, 0.05 * USUAL / max(middle, 1)) if middle < USUAL else len(small) / len(counts) / 2,
        evidence={
            "median": middle,
            "least": least,
            "counts": dict(zip(evidence.classes, counts.tolist(), strict=True)),
        },
        reference="Hestness et al., Deep learning scaling is predictable, empirically, 2017 (arXiv:1712.00409)",
    )
