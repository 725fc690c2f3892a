"""Unreadable images: files that should have been learnt from and were left out."""

from __future__ import annotations

from collections.abc import Iterator

from rung.data.labels import few
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = frozenset()


def find(evidence: Evidence) -> Iterator[Finding]:
    """Every file that could not be read, and why."""
    dataset = evidence.dataset
    if dataset is None or not dataset.unreadable:
        return
    count = len(dataset.unreadable)
    share = count / (count + sum(len(split) for split in dataset.splits))
    yield Finding(
        kind="unreadable_images",
        severity="note",
        statement=(
            f"{count:,} file{'s' if count > 1 else ''} ({share:.2%} of the images) cannot be read and "
            f"{'are' if count > 1 else 'is'} left out: {few((file.file for file in dataset.unreadable), 3)}."
        ),
        remedy=Remedy("Replace these files by ones that open in an image viewer, or delete them."),
        cost=share,
        evidence={"files": [[file.file, file.reason] for file in dataset.unreadable[:1000]], "share": share},
    )
