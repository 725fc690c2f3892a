"""A learning rate that never falls, ``strength`` times the usual peak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

from rung.training.adjustments import Adjustments

KINDS = ("not_annealed", "learning_rate_too_high")
STRENGTHS: tuple[Any, ...] = (1.0, 3.0, 6.0)
NETWORKS = ("conv", "bare", "dense", "tanh")


def plant(trial: Trial, strength: Any) -> Trial:
    scaled = Adjustments(rate_scale=strength).apply(trial.recipe, (8, 8))
    return replace(trial, recipe=replace(scaled, rounds=(1.0,), keep_best=False))
