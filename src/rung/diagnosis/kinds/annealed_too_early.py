"""Annealed too early: the learning rate has fallen to nothing long before the end."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import annealing
from rung.diagnosis.signals import gain_after, noise, rate_below

EXPLAINS: frozenset[str] = POOR_RESULT | {"learning_rate_too_low"}

# Share of its peak below which the rate is as good as gone, and part of the training after which it was, at most.
RATE, PART = 0.02, 0.6


def find(evidence: Evidence) -> Iterator[Finding]:
    """A learning rate of next to nothing for a large part of the training, in which nothing was gained."""
    gone, val = rate_below(evidence, RATE), evidence.val
    if val is None or not gone <= PART or gain_after(evidence, gone) > 2 * noise(val):
        return
    settings = annealing(evidence)
    yield Finding(
        kind="annealed_too_early",
        severity="warning",
        statement=(
            f"The learning rate falls too early: after {gone:.0%} of the training it is below {RATE:.0%} of its peak, "
            f"and nothing more is learnt."
        ),
        remedy=Remedy(
            "Let the learning rate fall to zero over the whole training.", evidence.command(**settings), settings
        ),
        cost=0.05,
        evidence={"gone_from": gone, "chart": "accuracy"},
        reference="Li, Yumer and Ramanan, Budgeted training, ICLR 2020",
    )
