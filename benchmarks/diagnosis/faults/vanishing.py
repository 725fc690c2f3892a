"""So many sigmoid layers (``strength``) that no gradient reaches the first ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("vanishing_gradients", "saturated_activations")
STRENGTHS: tuple[Any, ...] = (5, 7, 10)
NETWORKS = ("bare", "dense")


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, activation="sigmoid", depth=strength, norm=False)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
