"""The network ignores its input: whatever the image, the answer is the same."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import default_network
from rung.diagnosis.signals import dead_share, learnt, least_spread, spread_left

EXPLAINS: frozenset[str] = POOR_RESULT - {"ignores_its_input"} | {
    "vanishing_gradients",
    "dead_units",
    "learning_rate_too_low",
    "norm_statistics",
}

# How much the first activation depends on the image, at most, or what is left of that, at most: where the input is
# faint, biases soon outgrow it. Share of the loss that was learnt, at most; and channels that were dead before the
# first step, at most: those say nothing about the input.
SPREAD, LEFT, LEARNT, DEAD = 0.1, 0.4, 0.1, 0.5


def find(evidence: Evidence) -> Iterator[Finding]:
    """A loss that stays at that of guessing, because the first layer says the same about every image."""
    spread, val = least_spread(evidence), evidence.val
    if val is None or not (spread < SPREAD or spread_left(evidence) < LEFT):
        return
    if not learnt(evidence) < LEARNT or dead_share(evidence, late=False) > DEAD:
        return
    settings = default_network(evidence)
    yield Finding(
        kind="ignores_its_input",
        severity="serious",
        statement=(
            f"The network ignores its input: its first activation differs from image to image by {spread:.1%} of "
            f"its size, "
            f"and the loss stays at that of guessing."
        ),
        remedy=Remedy(
            "Check how the pixels are scaled: rung's own networks get images with mean 0 and deviation 1.",
            evidence.command(**settings),
            settings,
        ),
        cost=0.5,
        evidence={"spread": spread, "learnt": learnt(evidence), "chart": "spread"},
        reference="LeCun et al., Efficient BackProp, in Neural Networks: Tricks of the Trade, 1998, section 4.3",
    )
