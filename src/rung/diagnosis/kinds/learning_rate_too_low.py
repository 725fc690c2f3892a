"""Learning rate too low: the weights hardly move."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.signals import learnt, step_size

EXPLAINS: frozenset[str] = POOR_RESULT | {"batch_too_small"}

# Size of a step relative to the weights, at most, and share of the loss that was learnt, at most.
STEP, LEARNT = 0.002, 0.9


def find(evidence: Evidence) -> Iterator[Finding]:
    """Steps that are small for the weights that they change, in a training that has not learnt its images."""
    # What a network knows already is kept by small steps: those of its own recipe are a twentieth of the usual.
    if evidence.is_pretrained:
        return
    size = step_size(evidence)
    if not size < STEP or not learnt(evidence) < LEARNT or size == 0:
        return
    scale = min((3.0, 10.0, 30.0, 100.0, 300.0), key=lambda factor: abs(math.log(factor * size / 0.012)))
    settings = {"rate_scale": scale * float(evidence.settings.get("rate_scale") or 1.0)}
    yield Finding(
        kind="learning_rate_too_low",
        severity="serious",
        statement=(
            f"The learning rate is too low: a step changes the weights by {size:.2%} of their size, where 1 % is usual."
        ),
        remedy=Remedy(f"Multiply the learning rates by {scale:g}.", evidence.command(**settings), settings),
        cost=0.35,
        evidence={"step": size, "learnt": learnt(evidence), "chart": "loss"},
        reference="Bengio, Practical recommendations for gradient-based training, arXiv:1206.5533",
    )
