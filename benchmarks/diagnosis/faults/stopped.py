"""Stopped after ``strength`` of the schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("stopped_too_early", "too_few_steps")
STRENGTHS: tuple[Any, ...] = (0.15, 0.08, 0.03)
NETWORKS = ("conv", "bare", "dense", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    return replace(trial, stop=max(1, round(strength * trial.steps)))
