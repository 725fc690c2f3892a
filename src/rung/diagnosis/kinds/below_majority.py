"""An accuracy below what always giving the most frequent answer would get."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding
from rung.diagnosis.remedies import other_network
from rung.diagnosis.signals import majority, noise

EXPLAINS: frozenset[str] = frozenset()

# Standard errors by which it must be below.
ERRORS = 2.0


def find(evidence: Evidence) -> Iterator[Finding]:
    """Validation accuracy against the share of the most frequent class."""
    val = evidence.val
    if val is None or len(val.labels) < 30 or val.accuracy > majority(val) - ERRORS * noise(val):
        return
    yield Finding(
        kind="below_majority",
        severity="serious",
        statement=(
            f"Worse than no model: {val.accuracy:.1%} of the validation images are answered right, where always "
            f"giving the "
            f"most frequent answer would get {majority(val):.1%}."
        ),
        remedy=other_network(evidence, "Train again by rung's own recipe."),
        cost=majority(val) - val.accuracy,
        evidence={"val_accuracy": val.accuracy, "majority": majority(val)},
        reference="Holte, Very simple classification rules perform well on most commonly used datasets, 1993",
    )
