"""Every weight starts at the same value, ``strength``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("symmetric_initialisation",)
STRENGTHS: tuple[Any, ...] = (0.1, 0.01, 0.0)
NETWORKS = ("conv", "bare", "dense", "tanh")


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, constant=strength)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
