"""The finished network's logits are multiplied by ``strength``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("miscalibration",)
STRENGTHS: tuple[Any, ...] = (0.2, 10.0, 25.0)
NETWORKS = ("conv", "bare", "dense", "tanh", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    return replace(trial, scale=strength)
