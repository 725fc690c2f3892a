"""Which trials there are: healthy ones, ones with a fault, ones with two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.faults import faults
from benchmarks.diagnosis.trials import DATA, NETWORKS, Trial, healthy, run, save

# Thresholds were chosen on the seeds below this one.
CHOSEN_ON = 4
# Pairs that can be planted together without one hiding the other.
PAIRS = (
    ("overfitting", "miscalibrated"),
    ("rare_class", "low_rate"),
    ("small_network", "rare_class"),
    ("stopped", "rare_class"),
    ("high_rate", "rare_class"),
    ("constant_rate", "miscalibrated"),
    ("dead", "rare_class"),
    ("saturated", "miscalibrated"),
    ("few_steps", "rare_class"),
)


@dataclass(frozen=True)
class Planted:
    """A trial and what was planted in it: names of faults with their strengths."""

    key: str
    trial: Trial
    faults: dict[str, Any] = field(default_factory=dict)


def trials(seeds: int = 2, healthy_seeds: int = 10) -> Iterator[Planted]:
    """All trials, those that finish a small table first in front."""
    for seed in range(max(seeds, healthy_seeds)):
        if seed < healthy_seeds:
            for data in DATA:
                for network in NETWORKS:
                    yield Planted(f"healthy-{data}-{network}-{seed}", healthy(data, network, seed))
        if seed < seeds:
            yield from _single(seed)
            yield from _double(seed)


def train(store: Path, planted: Planted) -> str:
    """Run a trial and keep it; its key."""
    save(store, planted.key, run(planted.trial))
    return planted.key


def _single(seed: int) -> Iterator[Planted]:
    for name, fault in faults().items():
        networks = cycle(fault.NETWORKS)
        for _ in range(seed):
            next(networks)
        for strength in fault.STRENGTHS:
            for data in DATA:
                network = next(networks)
                trial = fault.plant(healthy(data, network, seed), strength)
                yield Planted(f"{name}-{strength}-{data}-{network}-{seed}", trial, {name: strength})


def _double(seed: int) -> Iterator[Planted]:
    known = faults()
    for first, second in PAIRS:
        both = [network for network in known[first].NETWORKS if network in known[second].NETWORKS]
        networks = cycle(both or ("bare",))
        for data in DATA:
            network = next(networks)
            strengths = {name: known[name].STRENGTHS[-1] for name in (first, second)}
            trial = healthy(data, network, seed)
            for name, strength in strengths.items():
                trial = known[name].plant(trial, strength)
            yield Planted(f"{first}+{second}-{data}-{network}-{seed}", trial, strengths)
