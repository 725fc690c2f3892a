"""The faults that can be planted, one file each, and the only list of them.

A fault is a module with

- ``KINDS``: the kinds of findings that name it; the first is its own name in the tables;
- ``STRENGTHS``: how strongly it can be planted, weakest first;
- ``NETWORKS``: the networks in which it makes sense;
- ``plant(trial, strength)``: the trial with the fault.

A new fault is one file and one line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from benchmarks.diagnosis.trials import Trial

NAMES = (
    "overfitting",
    "small_network",
    "few_steps",
    "high_rate",
    "low_rate",
    "constant_rate",
    "vanishing",
    "exploding",
    "dead",
    "saturated",
    "small_batch",
    "large_batch",
    "stopped",
    "wasted",
    "norm_statistics",
    "same_weights",
    "dark_input",
    "tilted",
    "miscalibrated",
    "rare_class",
)


class Fault(Protocol):
    KINDS: tuple[str, ...]
    STRENGTHS: tuple[Any, ...]
    NETWORKS: tuple[str, ...]

    def plant(self, trial: Trial, strength: Any) -> Trial: ...


def faults() -> dict[str, Fault]:
    return {name: cast(Fault, import_module(f"{__name__}.{name}")) for name in NAMES}
