"""The whole schedule in too few steps: ``strength`` of the usual ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("too_few_steps", "batch_too_large")
STRENGTHS: tuple[Any, ...] = (0.1, 0.05, 0.02)
NETWORKS = ("conv", "bare", "dense", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    return replace(trial, steps=round(strength * trial.steps))
