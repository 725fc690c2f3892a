"""Not annealed: the learning rate is as high at the end as in the middle, so the weights never settle."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import annealing
from rung.diagnosis.signals import progress_at_end, rate_at_end

EXPLAINS: frozenset[str] = frozenset({"miscalibration"})

# The last learning rate over the largest one, at least.
RATE = 0.5


def find(evidence: Evidence) -> Iterator[Finding]:
    """A learning rate that has not fallen at the end of a finished training."""
    rate, val = rate_at_end(evidence), evidence.val
    if val is None or not rate >= RATE or progress_at_end(evidence) < 0.9 or len(evidence.history) < 3:
        return
    last = [row.val_accuracy for row in evidence.history[-max(3, len(evidence.history) // 3) :]]
    swing = statistics.pstdev(last)
    settings = annealing(evidence)
    yield Finding(
        kind="not_annealed",
        severity="warning",
        statement=(
            f"The learning rate is not lowered: at the end it is {rate:.0%} of its peak, and validation accuracy still "
            f"swings by {100 * swing:.1f} points from look to look."
        ),
        remedy=Remedy("Let the learning rate fall to zero.", evidence.command(**settings), settings),
        cost=0.01 + swing,
        evidence={"rate": rate, "swing": swing, "chart": "accuracy"},
        reference="Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017",
    )
