"""Images multiplied by ``strength``: the network sees next to nothing of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.trials import Trial

KINDS = ("ignores_its_input",)
STRENGTHS: tuple[Any, ...] = (1e-3, 1e-4, 1e-5)
NETWORKS = ("bare", "dense", "tanh")


def plant(trial: Trial, strength: Any) -> Trial:
    network = replace(trial.recipe.network, input_scale=strength)  # type: ignore[type-var]
    return replace(trial, recipe=replace(trial.recipe, network=network))
