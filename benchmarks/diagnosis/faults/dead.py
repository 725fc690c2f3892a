"""Biases so low (``-strength``) that units of a ReLU network never fire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("dead_units",)
STRENGTHS: tuple[Any, ...] = (2.0, 4.0, 8.0)
NETWORKS = ("bare", "dense")


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, bias=-strength)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
