"""How the time of a climb is shared out: one length for every run, then more seeds where they cost least.

The length is chosen so that every step gets one run and time for three more remains. Runs that come to their end before
their time leave it to further seeds, too: these always go to the cheapest step that has less than three, then to the
cheapest with less than five, and so on, as long as one still fits. A run is made shorter only where the computer has
become so slow that the budget could not be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rung.runs import Epoch

# Runs for which time is kept when their length is chosen, beyond one for every step.
SPARE = 3
SEEDS = (3, 5, 8, 12, 20)
# A training at a constant rate is over when this share of it has brought nothing better on validation images …
IDLE = 0.4
# … after so many rows of its history, or when it knows its training images by heart.
ROWS = 6
BY_HEART = 0.995


def run_seconds(left: float, overheads: Sequence[float]) -> float:
    """The length of every training, in seconds.

    Args:
        left: time for all of them, with everything around them.
        overheads: for each step, what a run of it takes apart from the training, evaluation included.
    """
    spare = SPARE * sum(overheads) / len(overheads)
    return (left - sum(overheads) - spare) / (len(overheads) + SPARE)


def next_seed(order: Sequence[str], counts: Mapping[str, int], costs: Mapping[str, float], left: float) -> str | None:
    """The step that gets another seed, or None where none fits.

    Args:
        order: the steps, the first before the others where they cost the same.
        counts: seeds that each has.
        costs: seconds that a run of each takes, with everything around it.
        left: seconds there are.
    """
    cheapest = sorted(order, key=lambda name: (round(costs[name]), order.index(name)))
    for most in SEEDS:
        for name in cheapest:
            if counts[name] < most and costs[name] <= left:
                return name
    return None


def has_come_to_its_end(history: Sequence[Epoch]) -> bool:
    """Whether a training at a constant rate would gain nothing from going on."""
    if len(history) < ROWS:
        return False
    best = max(history, key=lambda row: row.val_accuracy)
    last = history[-1]
    return last.train_accuracy >= BY_HEART or best.step <= (1 - IDLE) * last.step
