"""Trainings of a second, for benchmarks of what surrounds them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rung.models.fast import FastConfig

TINY = FastConfig(stages=((8,), (16,)), stem_filters=4)


def use_tiny_networks() -> None:
    """Let every plan of this process have a network of a few hundred weights, and save a checkpoint at every step."""
    import rung.training.session as session
    from rung.pipeline import recorder
    from rung.training.plan import Plan

    plan = session.plan_training

    def tiny(*given: Any, **named: Any) -> Plan:
        planned = plan(*given, **named)
        return replace(planned, recipe=replace(planned.recipe, network=TINY))

    session.plan_training = tiny
    recorder.CHECKPOINT_SECONDS = 0.0
    recorder.HISTORY_SECONDS = 0.0
