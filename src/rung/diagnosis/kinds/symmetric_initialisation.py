"""Symmetric initialisation: weights that start equal stay equal, so a layer has one unit, many times."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding
from rung.diagnosis.remedies import other_network
from rung.diagnosis.signals import likeness

EXPLAINS: frozenset[str] = POOR_RESULT | {
    "vanishing_gradients",
    "exploding_gradients",
    "dead_units",
    "saturated_activations",
    "learning_rate_too_low",
    "learning_rate_too_high",
    "norm_statistics",
    "overfitting",
}

# Mean correlation of neighbouring channels before the first step, at least.
LIKENESS = 0.9


def find(evidence: Evidence) -> Iterator[Finding]:
    """Channels that all say the same before the first step."""
    alike = likeness(evidence)
    if not alike > LIKENESS:
        return
    yield Finding(
        kind="symmetric_initialisation",
        severity="serious",
        statement=(
            f"Symmetric initialisation: before the first step, neighbouring channels of a layer are correlated by "
            f"{alike:.2f}, so all of them learn the same."
        ),
        remedy=other_network(evidence, "Start from random weights (He's initialisation), as rung's own networks do."),
        cost=0.5,
        evidence={"likeness": alike},
        reference="Goodfellow, Bengio and Courville, Deep Learning, MIT Press 2016, section 8.4",
    )
