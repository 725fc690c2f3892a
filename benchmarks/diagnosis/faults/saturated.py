"""Initial weights so large (``strength``) that tanh and sigmoid units are stuck at their flat ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("saturated_activations",)
STRENGTHS: tuple[Any, ...] = (8.0, 20.0, 60.0)
NETWORKS = ("tanh",)


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, gain=strength, depth=4)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
