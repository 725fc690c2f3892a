"""Collapsed predictions: one class is the answer to nearly everything."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import default_network
from rung.diagnosis.signals import one_class

EXPLAINS: frozenset[str] = frozenset(
    {"below_majority", "failing_class", "miscalibration", "norm_statistics", "wasted_time"}
)

# By how much the share of one class among the answers exceeds its share of the images, at least.
EXCESS = 0.4


def find(evidence: Evidence) -> Iterator[Finding]:
    """The class that is answered most, against how frequent it is."""
    val = evidence.val
    if val is None or len(val.labels) < 30:
        return
    most, excess = one_class(val)
    if excess < EXCESS:
        return
    share = float((val.probabilities.argmax(1) == most).mean())
    name = evidence.classes[most] if most < len(evidence.classes) else str(most)
    settings = default_network(evidence)
    yield Finding(
        kind="collapsed_predictions",
        severity="serious",
        statement=(
            f"Collapsed predictions: {share:.0%} of the validation images are called {name!r}, which "
            f"{share - excess:.0%} of them are."
        ),
        remedy=Remedy(
            "Check the bias of the last layer and the balance of the classes, and train again.",
            evidence.command(**settings),
            settings,
        ),
        cost=excess / 2,
        evidence={"class": name, "answers": share, "images": share - excess},
        images={
            "val": tuple(
                int(p) for p in val.positions[(val.probabilities.argmax(1) == most) & (val.labels != most)][:24]
            )
        },
        reference="Salimans et al., Improved techniques for training GANs, 2016, on collapse; here of a classifier",
    )
