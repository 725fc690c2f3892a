"""Dead units: rectifiers that are zero for every image, and so never learn again."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import default_network
from rung.diagnosis.signals import dead_share

EXPLAINS: frozenset[str] = POOR_RESULT | {"vanishing_gradients", "learning_rate_too_low"}

# Share of the channels of a layer that is zero for every image, at least.
SHARE = 0.4


def find(evidence: Evidence) -> Iterator[Finding]:
    """The layer with most units that never fire."""
    if evidence.is_pretrained:
        # Its narrow layers are widened sixfold, and a fifth of those channels is silent on few images by nature.
        return
    recordings, dead = evidence.recordings, dead_share(evidence)
    if recordings is None or not dead > SHARE:
        return
    early = dead_share(evidence, late=False)
    settings = default_network(evidence)
    yield Finding(
        kind="dead_units",
        severity="serious" if dead > 0.8 else "warning",
        statement=(
            f"Dead units: {dead:.0%} of the channels of a layer are zero for every image ({early:.0%} before the first "
            f"step); no gradient passes through them."
        ),
        remedy=Remedy(
            "Normalise in front of the rectifiers, as rung's own networks do, or lower the learning rate.",
            evidence.command(**settings),
            settings,
        ),
        cost=0.3 * dead,
        evidence={"dead": dead, "dead_at_first": early, "chart": "dead"},
        reference="Lu et al., Dying ReLU and initialization, arXiv:1903.06733",
    )
