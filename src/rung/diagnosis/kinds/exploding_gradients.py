"""Exploding gradients: every layer makes the signal larger, until the first loss is absurd."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding
from rung.diagnosis.remedies import other_network
from rung.diagnosis.signals import first_loss

EXPLAINS: frozenset[str] = POOR_RESULT | {
    "dead_units",
    "saturated_activations",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "overfitting",
    "not_annealed",
}

# First loss, in losses of knowing nothing.
LOSS = 4.0


def find(evidence: Evidence) -> Iterator[Finding]:
    """A first loss far above that of guessing: the initial weights blow the signal up, and the gradients with it."""
    recordings, first = evidence.recordings, first_loss(evidence)
    if recordings is None or not (first > LOSS or math.isnan(first)) or not len(recordings.losses):
        return
    yield Finding(
        kind="exploding_gradients",
        severity="serious",
        statement=(
            f"Exploding gradients: before anything was learnt the loss was {first:.3g} times that of guessing, "
            f"because each "
            f"layer makes the signal larger than it came in."
        ),
        remedy=other_network(
            evidence, "Start from smaller weights (He's initialisation) and normalise, as rung's own networks do."
        ),
        cost=0.45,
        evidence={"first_loss": first if math.isfinite(first) else None, "chart": "gradients"},
        reference="He et al., Delving deep into rectifiers, ICCV 2015; Pascanu, Mikolov and Bengio, ICML 2013",
    )
