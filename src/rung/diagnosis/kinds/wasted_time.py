"""Wasted time: it was as good long before the end."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import more_time
from rung.diagnosis.signals import plateau, progress_at_end

EXPLAINS: frozenset[str] = frozenset()

# Share of the training after which nothing more was gained, at most.
SHARE = 0.45


def find(evidence: Evidence) -> Iterator[Finding]:
    """Validation accuracy that was as good as at the end in the first half of the training."""
    flat = plateau(evidence)
    if not flat < SHARE or progress_at_end(evidence) < 0.9:
        return
    share = min(0.9, 1.5 * flat)
    settings = more_time(evidence, share)
    yield Finding(
        kind="wasted_time",
        severity="note",
        statement=(
            f"Wasted time: after {flat:.0%} of the training, validation accuracy was what it is at the end, but for "
            f"its noise."
        ),
        remedy=Remedy(f"Give it {share:.0%} of the time.", evidence.command(**settings), settings),
        evidence={"flat_from": flat, "chart": "accuracy"},
        reference="Prechelt, Early stopping: but when?, in Neural Networks: Tricks of the Trade, 1998",
    )
