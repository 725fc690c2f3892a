"""Batch too small: each step follows a handful of images, and mostly their chance."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.signals import learnt, step_noise

EXPLAINS: frozenset[str] = POOR_RESULT - {"ignores_its_input"} | {"not_annealed", "dead_units"}

# Images a step, at most, and share of the loss that was learnt, at most.
IMAGES, LEARNT = 4, 0.95


def find(evidence: Evidence) -> Iterator[Finding]:
    """Steps on so few images that their direction is noise, in a training that has not learnt its images."""
    size, val = evidence.recipe.get("batch_size"), evidence.val
    if val is None or not isinstance(size, int) or size > IMAGES or not learnt(evidence) < LEARNT:
        return
    wobble = step_noise(evidence)
    settings = {"batch_size": 32}
    yield Finding(
        kind="batch_too_small",
        severity="warning",
        statement=(
            f"The batch is too small: with {size} image{'s' if size > 1 else ''} a step the loss changes by "
            f"{wobble:.0%} of "
            f"its size from one step to the next."
        ),
        remedy=Remedy("Take 32 images a step.", evidence.command(**settings), settings),
        cost=0.2,
        evidence={"batch_size": size, "step_noise": wobble, "chart": "loss"},
        reference="McCandlish et al., An empirical model of large-batch training, arXiv:1812.06162",
    )
