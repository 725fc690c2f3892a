"""Too few channels for the task: ``strength`` in every layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("underfitting",)
STRENGTHS: tuple[Any, ...] = (3, 2, 1)
NETWORKS = ("conv", "bare", "dense")


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, width=strength)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
