"""Batch too large: so many images a step that hardly any steps are left."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = POOR_RESULT - {"ignores_its_input"} | {"norm_statistics"}

# Share of the training images in a batch, at least, and steps, at most.
SHARE, STEPS = 0.15, 100


def find(evidence: Evidence) -> Iterator[Finding]:
    """Few steps because of large batches, not because of little time."""
    size, images, recordings = evidence.recipe.get("batch_size"), evidence.images.get("train"), evidence.recordings
    train = evidence.train
    if recordings is None or train is None or not isinstance(size, int) or not images:
        return
    steps = len(recordings.losses)
    share = min(1.0, size / images)
    if share < SHARE or not 0 < steps < STEPS or train.accuracy > 0.95:
        return
    settings = {"batch_size": max(16, images // 32 // 8 * 8)}
    yield Finding(
        kind="batch_too_large",
        severity="warning",
        statement=(
            f"The batch is too large: with {size:,} of {images:,} images a step, the whole training had {steps} "
            f"steps, and "
            f"is right in {train.accuracy:.1%} of its own images."
        ),
        remedy=Remedy(f"Take {settings['batch_size']} images a step.", evidence.command(**settings), settings),
        cost=0.25,
        evidence={"batch_size": size, "train_images": images, "steps": steps, "chart": "loss"},
        reference="Keskar et al., On large-batch training for deep learning, ICLR 2017",
    )
