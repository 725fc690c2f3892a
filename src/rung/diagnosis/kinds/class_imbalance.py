"""Class imbalance: some classes have many times as many images as others, and the small ones are answered worse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = frozenset()

# Images of the largest class for one of the smallest, from which it is told, and from which it is severe.
RATIO, SEVERE = 5.0, 20.0


def find(evidence: Evidence) -> Iterator[Finding]:
    """The largest class against the smallest; and how well each is answered, where that is known."""
    if evidence.look is None or len(evidence.look.counts) < 2:
        return
    counts = np.array(evidence.look.counts)
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    ratio = counts[largest] / max(1, counts[smallest])
    if ratio < RATIO:
        return
    names = evidence.classes
    recalls = _recalls(evidence, len(counts))
    small = counts < np.median(counts)
    behind = 0.0
    tail = ""
    if recalls is not None and small.any() and not small.all():
        behind = float(np.nanmean(recalls[~small]) - np.nanmean(recalls[small]))
        tail = (
            f"; {np.nanmean(recalls[small]):.0%} of the images of the small classes are found, "
            f"{np.nanmean(recalls[~small]):.0%} of the others"
        )
    share = counts[largest] / counts.sum()
    yield Finding(
        kind="class_imbalance",
        severity="warning" if ratio >= SEVERE or behind > 0.1 else "note",
        statement=(
            f"Class imbalance: {names[largest]} has {counts[largest]:,} training and validation images, "
            f"{names[smallest]} {counts[smallest]:,}, {ratio:.0f} times fewer{tail}."
        ),
        remedy=Remedy(
            f"Collect more images of the small classes, and judge by the macro F1 and by each class's recall: the "
            f"accuracy alone is {share:.0%} for who always answers {names[largest]}."
        ),
        cost=max(0.0, min(0.3, behind * float(small.mean()))) or 0.01,
        evidence={
            "ratio": float(ratio),
            "counts": dict(zip(names, counts.tolist(), strict=True)),
            "recall_of_small_classes_behind": behind,
        },
        reference="Buda et al., A systematic study of the class imbalance problem, Neural Networks 106, 2018",
    )


def _recalls(evidence: Evidence, classes: int) -> np.ndarray | None:
    """Share of each class's images that is found, on images that were not learnt from; NaN where there are none."""
    known = evidence.out_of_fold or evidence.val
    if known is None:
        return None
    right = known.probabilities.argmax(1) == known.labels
    totals = np.bincount(known.labels, minlength=classes)
    hits = np.bincount(known.labels, weights=right, minlength=classes)
    return np.where(totals > 0, hits / np.maximum(totals, 1), np.nan)
