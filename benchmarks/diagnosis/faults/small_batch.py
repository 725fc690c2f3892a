"""Batches of ``strength`` images, at the usual rate and with the usual number of steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("batch_too_small",)
STRENGTHS: tuple[Any, ...] = (4, 2, 1)
NETWORKS = ("bare", "dense", "tanh")


def plant(trial: Trial, strength: Any) -> Trial:
    return replace(trial, recipe=replace(trial.recipe, batch_size=strength))
