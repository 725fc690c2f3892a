"""Initial weights so large (``strength``) that each of eight layers blows the signal up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("exploding_gradients",)
STRENGTHS: tuple[Any, ...] = (2.0, 3.0, 5.0)
NETWORKS = ("bare", "dense")


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, gain=strength, depth=8, norm=False)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
