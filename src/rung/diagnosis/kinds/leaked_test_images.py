"""Leaked test images: test images that are in the training or validation split as well, exactly or nearly.

Reference:
    Barz and Denzler, Do we train on test data? Purging CIFAR of near-duplicates, Journal of Imaging 6, 2020
    (arXiv:1902.00423).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rung.data.duplicates import Pair, Place
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.evaluation.intervals import wilson

EXPLAINS: frozenset[str] = frozenset()

LIST = "leaked.csv"
# Share of the test images from which it is told, and from which the accuracy cannot be relied on.
SHARE, SERIOUS = 0.005, 0.1


def across(pairs: tuple[Pair, ...]) -> list[tuple[Place, Place, Pair]]:
    """The pairs of a test image and another one, as (test image, other image, pair), the most alike first."""
    found = []
    for pair in pairs:
        places = sorted((pair.first, pair.second), key=lambda place: place.split != "test")
        if places[0].split == "test" != places[1].split:
            found.append((places[0], places[1], pair))
    return found


def find(evidence: Evidence) -> Iterator[Finding]:
    """How many test images were seen before, and the accuracy on the others."""
    if not evidence.duplicates:
        return
    found = across(evidence.duplicates)
    leaked = list(dict.fromkeys(test.position for test, _, _ in found))
    total = evidence.images.get("test") or (evidence.look.sizes.get("test", 0) if evidence.look else 0)
    if not total or len(leaked) < max(1.0, SHARE * total):
        return
    exact = len({test.position for test, _, pair in found if pair.exact})
    share = len(leaked) / total
    copies = list(dict.fromkeys(other for _, other, _ in found))
    accuracy, figures = _without(evidence, leaked)
    images: dict[str, list[int]] = {"test": leaked}
    for copy in copies:
        images.setdefault(copy.split, []).append(copy.position)
    yield Finding(
        kind="leaked_test_images",
        severity="serious" if share > SERIOUS else "warning" if share > 0.05 or exact > 0.01 * total else "note",
        statement=(
            f"{len(leaked):,} of {total:,} test images ({share:.1%}) are among the training and validation images as "
            f"well, {exact:,} of them pixel by pixel{accuracy}."
        ),
        remedy=Remedy(
            f"Train without their copies, which {LIST} lists; the test split remains what it is.",
            *evidence.without(LIST),
        ),
        cost=figures.get("gain", share * 0.2),
        evidence={
            "share": share,
            "exact": exact,
            "pairs": [[[place.split, place.position] for place in places] for *places, _ in found],
            "alike": [round(pair.similarity, 4) for _, _, pair in found],
            **figures,
        },
        images={split: tuple(positions) for split, positions in images.items()},
        reference="Barz and Denzler, Do we train on test data?, Journal of Imaging 6, 2020",
    )


def _without(evidence: Evidence, leaked: list[int]) -> tuple[str, dict[str, float]]:
    """The accuracy on the test images that were not leaked: the end of a sentence, and figures."""
    test = evidence.test
    if test is None:
        return "", {}
    clean = ~np.isin(test.positions, leaked)
    if clean.all() or not clean.any():
        return "", {}
    right = test.probabilities.argmax(1) == test.labels
    without, everything = float(right[clean].mean()), float(right.mean())
    low, high = wilson(int(right[clean].sum()), int(clean.sum()))
    sentence = f"; without them the accuracy is {without:.1%} ({low:.1%} to {high:.1%}) instead of {everything:.1%}"
    return sentence, {
        "accuracy_without": without,
        "accuracy_without_low": low,
        "accuracy_without_high": high,
        "accuracy": everything,
        "gain": max(0.0, everything - without),
    }
