"""Contradictory duplicates: the same image under two labels, one of which must be wrong."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = frozenset()

LIST = "contradictory.csv"
# Pairs from which it is told: a pair of near duplicates alone can be two views of things that do differ.
LEAST = 3


def find(evidence: Evidence) -> Iterator[Finding]:
    """Pairs among the training and validation images whose labels differ; test labels are not looked at."""
    dataset = evidence.dataset
    if not evidence.duplicates or dataset is None:
        return
    labels = {"train": dataset.train.labels, "val": dataset.val.labels}
    found = [
        pair
        for pair in evidence.duplicates
        if pair.first.split in labels
        and pair.second.split in labels
        and labels[pair.first.split][pair.first.position] != labels[pair.second.split][pair.second.position]
    ]
    exact = sum(pair.exact for pair in found)
    if not exact and len(found) < LEAST:
        return
    places = list(dict.fromkeys(place for pair in found for place in (pair.first, pair.second)))
    images: dict[str, list[int]] = {}
    for place in places:
        images.setdefault(place.split, []).append(place.position)
    total = len(dataset.train) + len(dataset.val)
    yield Finding(
        kind="contradictory_duplicates",
        severity="warning",
        statement=(
            f"{len(found):,} pair{'s' if len(found) > 1 else ''} of images that are the same or nearly "
            f"({exact:,} pixel by pixel) {'have' if len(found) > 1 else 'has'} different labels: "
            "one of each pair is wrong."
        ),
        remedy=Remedy(
            f"Look at the pairs in {LIST} and put the wrong label of each right; or train without both.",
            *evidence.without(LIST),
        ),
        cost=len(found) / total / 2,
        evidence={
            "pairs": [[[place.split, place.position] for place in (pair.first, pair.second)] for pair in found],
            "alike": [round(pair.similarity, 4) for pair in found],
            "exact": exact,
        },
        images={split: tuple(positions) for split, positions in images.items()},
        reference="Northcutt et al., Pervasive label errors in test sets, NeurIPS 2021 (arXiv:2103.14749)",
    )
