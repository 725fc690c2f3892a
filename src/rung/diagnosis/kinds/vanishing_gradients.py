"""Vanishing gradients: what the first layers should learn does not reach them."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding
from rung.diagnosis.remedies import other_network
from rung.diagnosis.signals import first_over_last_gradient, learnt

EXPLAINS: frozenset[str] = POOR_RESULT | {"learning_rate_too_low", "dead_units"}

# Gradient of the first layer over that of the last one, at most, and layers, at least; and share of the loss that was
# learnt, at most: where nearly nothing is left to learn, no gradient says anything.
RATIO, LAYERS, LEARNT = 0.01, 4, 0.95


def find(evidence: Evidence) -> Iterator[Finding]:
    """Gradients that shrink from the last layer to the first by more than they should."""
    recordings, ratio = evidence.recordings, first_over_last_gradient(evidence)
    if recordings is None or not ratio < RATIO or len(recordings.layers) < LAYERS:
        return
    if learnt(evidence) > LEARNT:
        return
    yield Finding(
        kind="vanishing_gradients",
        severity="serious",
        statement=(
            f"Vanishing gradients: of the gradient at the last of {len(recordings.layers)} layers, {ratio:.2g} "
            f"reaches the "
            f"first one, so the first layers learn next to nothing."
        ),
        remedy=other_network(
            evidence, "Use rectifiers, batch normalisation and fewer layers, as rung's own networks do."
        ),
        cost=0.4,
        evidence={"ratio": ratio, "layers": len(recordings.layers), "chart": "gradients"},
        reference="Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010",
    )
