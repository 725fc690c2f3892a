"""Batch-norm statistics off: the network is another one when it predicts than when it learns."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import default_network

EXPLAINS: frozenset[str] = POOR_RESULT

# Points of accuracy that are lost by taking the running statistics instead of those of the batch.
LOSS = 0.03


def find(evidence: Evidence) -> Iterator[Finding]:
    """Accuracy on the same images with the statistics of their batch and with the running ones."""
    recordings = evidence.recordings
    if recordings is None or not recordings.batch_accuracy - recordings.running_accuracy > LOSS:
        return
    lost = recordings.batch_accuracy - recordings.running_accuracy
    settings = default_network(evidence)
    yield Finding(
        kind="norm_statistics",
        severity="serious",
        statement=(
            f"Batch normalisation's running statistics are off: the same training images are answered right in "
            f"{recordings.batch_accuracy:.1%} with the statistics of their batch, in "
            f"{recordings.running_accuracy:.1%} with "
            f"the running ones that predictions use."
        ),
        remedy=Remedy(
            "Let the statistics follow faster (a larger momentum), train for more steps, or take rung's own network.",
            evidence.command(**settings),
            settings,
        ),
        cost=lost,
        evidence={"batch_accuracy": recordings.batch_accuracy, "running_accuracy": recordings.running_accuracy},
        reference='Wu and Johnson, Rethinking "batch" in BatchNorm, arXiv:2105.07576',
    )
