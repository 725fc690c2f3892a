"""Running statistics of batch normalisation that follow the batches at a rate of ``strength``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("norm_statistics",)
STRENGTHS: tuple[Any, ...] = (0.003, 0.001, 0.0001)
NETWORKS = ("conv",)


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, norm_momentum=strength)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
