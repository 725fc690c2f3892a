"""Learning rates multiplied by ``strength``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

from rung.training.adjustments import Adjustments

KINDS = ("learning_rate_too_low",)
STRENGTHS: tuple[Any, ...] = (0.03, 0.01, 0.003)
NETWORKS = ("conv", "bare", "dense", "tanh", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    return replace(trial, recipe=Adjustments(rate_scale=strength).apply(trial.recipe, (8, 8)))
