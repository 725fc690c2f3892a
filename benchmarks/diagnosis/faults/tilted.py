"""The finished network prefers one class by ``strength`` in its logits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("collapsed_predictions",)
STRENGTHS: tuple[Any, ...] = (8.0, 16.0, 32.0)
NETWORKS = ("bare", "dense", "tanh", "conv")


def plant(trial: Trial, strength: Any) -> Trial:
    return replace(trial, tilt=strength)
