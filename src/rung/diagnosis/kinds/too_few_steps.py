"""Too few steps: the network could learn more, but the training ended before."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import more_time

EXPLAINS: frozenset[str] = POOR_RESULT - {"too_few_steps", "ignores_its_input"} | {"norm_statistics"}

# Steps below which no network that was measured had learnt its task, and the accuracy from which it does not matter.
STEPS, ENOUGH = 60, 0.95


def find(evidence: Evidence) -> Iterator[Finding]:
    """So few steps that the weights have not come far from where they started."""
    recordings, train = evidence.recordings, evidence.train
    if recordings is None or train is None or not evidence.history:
        return
    steps = len(recordings.losses)
    if not 0 < steps < STEPS or train.accuracy > ENOUGH:
        return
    factor = max(3, math.ceil(2 * STEPS / steps))
    settings = more_time(evidence, factor)
    yield Finding(
        kind="too_few_steps",
        severity="warning",
        statement=(
            f"Underfitting for lack of steps: after {steps} step{'' if steps == 1 else 's'} "
            f"({evidence.history[-1].epoch:.2g} epochs) it is right in {train.accuracy:.1%} of its own training "
            f"images, and still learning."
        ),
        remedy=Remedy(f"Give it {factor} times the time.", evidence.command(**settings), settings),
        cost=0.25,
        evidence={"steps": steps, "train_accuracy": train.accuracy, "chart": "loss"},
        reference="Goodfellow, Bengio and Courville, Deep Learning, MIT Press 2016, section 11.4",
    )
