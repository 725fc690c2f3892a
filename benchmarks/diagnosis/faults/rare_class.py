"""Only ``strength`` of one class's training images are left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("failing_class",)
STRENGTHS: tuple[Any, ...] = (0.05, 0.02, 0.0)
NETWORKS = ("conv", "bare", "dense", "fast")


def plant(trial: Trial, strength: Any) -> Trial:
    return replace(trial, rare_class=strength)
