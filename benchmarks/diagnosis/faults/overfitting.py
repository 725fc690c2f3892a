"""So few training images that they are learnt by heart; ``strength`` of them, without variation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

from rung.data.batches import Augmentation

KINDS = ("overfitting",)
STRENGTHS: tuple[Any, ...] = (400, 200, 100)
NETWORKS = ("conv", "bare", "dense", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    plain = replace(trial.recipe, augmentation=Augmentation(False, 0))
    return replace(trial, recipe=plain, images=strength, steps=2 * trial.steps)
