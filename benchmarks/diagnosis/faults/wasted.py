"""A learning rate that falls with the power ``strength`` of the time that is left: to nothing, long before the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("annealed_too_early", "wasted_time")
STRENGTHS: tuple[Any, ...] = (8.0, 16.0, 32.0)
NETWORKS = ("conv", "bare", "dense", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    recipe = replace(trial.recipe, decay=strength)
    return replace(trial, recipe=recipe, steps=2 * trial.steps)
