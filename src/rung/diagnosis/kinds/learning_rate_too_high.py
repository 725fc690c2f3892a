"""Learning rate too high: steps that jump over what they look for, up to losses that are not numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.signals import first_loss, step_size, worst_loss

EXPLAINS: frozenset[str] = POOR_RESULT | {
    "dead_units",
    "saturated_activations",
    "vanishing_gradients",
    "not_annealed",
    "norm_statistics",
}

# Size of a step relative to the weights, and worst loss of ten steps in losses of knowing nothing.
STEP, LOSS = 0.05, 2.0


def find(evidence: Evidence) -> Iterator[Finding]:
    """Steps that are large for the weights that they change, and losses that rise instead of falling."""
    recordings = evidence.recordings
    if recordings is None:
        return
    size, worst, retreats = step_size(evidence), worst_loss(evidence), len(recordings.retreats)
    # Where the first loss is high already, the weights are to blame, not the rate.
    if not (size > STEP or retreats or (worst > LOSS and first_loss(evidence) < LOSS)):
        return
    # A step of a hundredth of the weights is what the healthy networks had.
    scale = _scale(size)
    if retreats:
        what = f"{retreats} times a loss or a weight was not a number any more"
    elif worst > LOSS:
        what = f"the loss rose to {worst:.1f} times that of guessing"
    else:
        what = f"a step changes the weights by {size:.1%} of their size, where 1 % is usual"
    settings = {"rate_scale": scale * float(evidence.settings.get("rate_scale") or 1.0)}
    yield Finding(
        kind="learning_rate_too_high",
        severity="serious" if retreats or worst > LOSS else "warning",
        statement=f"The learning rate is too high: {what}.",
        remedy=Remedy(f"Multiply the learning rates by {scale:g}.", evidence.command(**settings), settings),
        cost=0.4,
        evidence={"step": size, "worst_loss": min(worst, 1e9), "retreats": retreats, "chart": "loss"},
        reference="Bengio, Practical recommendations for gradient-based training, arXiv:1206.5533",
    )


def _scale(size: float) -> float:
    """The factor, 0.3 to 0.001, that brings a step of this size to the usual hundredth."""
    if not math.isfinite(size):
        return 0.1
    wanted = 0.012 / max(size, 1e-9)
    return min((0.3, 0.1, 0.03, 0.01, 0.003, 0.001), key=lambda factor: abs(math.log(factor / wanted)))
