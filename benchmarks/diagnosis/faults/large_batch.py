"""Batches of ``strength`` of the images, so that as many epochs have few steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.data import TRAIN
from benchmarks.diagnosis.trials import Trial

KINDS = ("batch_too_large", "too_few_steps")
STRENGTHS: tuple[Any, ...] = (0.25, 0.5, 1.0)
NETWORKS = ("conv", "bare", "dense", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    batch = max(1, round(strength * TRAIN[trial.data]))
    steps = max(2, trial.steps * trial.recipe.batch_size // batch)
    return replace(trial, recipe=replace(trial.recipe, batch_size=batch), steps=steps)
