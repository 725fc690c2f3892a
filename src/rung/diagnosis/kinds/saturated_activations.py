"""Saturated activations: sigmoid or tanh units stuck at their flat ends, where no gradient passes."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding
from rung.diagnosis.remedies import other_network
from rung.diagnosis.signals import saturated_share

EXPLAINS: frozenset[str] = POOR_RESULT | {
    "vanishing_gradients",
    "exploding_gradients",
    "learning_rate_too_low",
    "learning_rate_too_high",
}

# Share of the outputs of a layer at the flat ends, at least, before the first step.
SHARE = 0.6


def find(evidence: Evidence) -> Iterator[Finding]:
    """The layer with most outputs at the flat ends, from the beginning on."""
    recordings, at_first = evidence.recordings, saturated_share(evidence, late=False)
    if recordings is None or not at_first > SHARE:
        return
    late = saturated_share(evidence)
    yield Finding(
        kind="saturated_activations",
        severity="serious",
        statement=(
            f"Saturated activations: {at_first:.0%} of a layer's outputs lay at the flat ends before the first step, "
            f"{late:.0%} at the end; hardly a gradient passes there."
        ),
        remedy=other_network(
            evidence,
            "Start from smaller weights, or use rectifiers and batch normalisation, as rung's own networks do.",
        ),
        cost=0.35,
        evidence={"saturated_at_first": at_first, "saturated": late, "chart": "saturated"},
        reference="Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010",
    )
