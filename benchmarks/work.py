"""What training and planning do, counted instead of timed, so that a slowdown shows on any machine, however busy.

    python benchmarks/work.py write      # after a change that is meant to do more, or less
    python benchmarks/work.py check      # what the tests do

``steps``: the operations of torch, the floating-point operations, and the bytes read and written, of a few training
steps with all around them (batches, optimizer, watching, a row of the history), by network. ``plans``: what the planner
would train in how much time on two imagined computers, whose speed is given instead of measured. Both are compared
with ``benchmarks/results/work.json``: an operation more than two in a hundred, or a plan that trains five in a hundred
images more or fewer, is told.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset, Split
from rung.data.probe import Probe
from rung.models.fast import FastConfig
from rung.training import plan as planner
from rung.training.clocks import StepClock
from rung.training.device import Machine
from rung.training.loop import fit
from rung.training.measure import Cost, network_size
from rung.training.recipe import Recipe
from rung.training.rungs import LADDER
from rung.training.session import DisplayObserver, new_state

RESULTS = Path(__file__).parent / "results" / "work.json"
PROBE = Probe(0.4, 0.4, 1000)
# As many images a step as convolutions learn through their spectra with.
STEPS, BATCH = 6, 64
BUDGETS = (15, 30, 60, 120, 300, 1800)
# Floating-point operations a second: a laptop without and with a matrix unit.
SPEEDS = {"slow": 1e11, "fast": 8e11}
MORE, OTHER = 0.02, 0.05


def cifar10_like(train: int = 47_500, val: int = 2_500, test: int = 10_000) -> Dataset:
    """As many images as CIFAR-10 has, all of them a few random ones."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 32, 32, 3), np.uint8)
    sizes = {"train": train, "val": val, "test": test}
    splits = [Split(name, images, np.arange(size) % 50, np.arange(size) % 10) for name, size in sizes.items()]
    return Dataset("like CIFAR-10", "nowhere", tuple(map(str, range(10))), *splits, "00" * 32)


class Counter(TorchDispatchMode):
    """Counts operations, and the bytes of what goes into them and comes out; those that only look differently at the
    same memory count nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.operations += 1
            tensors = [value for value in tree_leaves((args, kwargs, result)) if isinstance(value, torch.Tensor)]
            self.bytes += sum(value.numel() * value.element_size() for value in tensors)
        return result


def work_of_steps(recipe: Recipe) -> dict[str, int]:
    """What :data:`STEPS` training steps of the recipe take."""
    dataset = cifar10_like(STEPS * BATCH, 100, 100)
    state = new_state(recipe, dataset, torch.device("cpu"), 0)
    with FlopCounterMode(display=False) as flops, Counter() as counter:
        fit(
            state,
            dataset,
            recipe,
            StepClock(STEPS),
            seed=0,
            precision="float32",
            steps_per_row=STEPS,
            validation=dataset.val,
            observer=DisplayObserver(),
        )
    return {"operations": counter.operations, "flops": int(flops.get_total_flops()), "bytes": counter.bytes}


def recipes() -> dict[str, Recipe]:
    dataset = cifar10_like(STEPS * BATCH, 100, 100)
    found = {rung.name: rung.recipe(dataset, PROBE) for rung in LADDER}
    fast = {
        str(config): Recipe(network=config, augmentation=Augmentation())
        for config in (FastConfig(), FastConfig(stages=((64, 64), (256, 256), (256, 256)), activation="gelu"))
    }
    chosen = {name: recipe for name, recipe in found.items() if recipe is not None} | fast
    return {name: planner.replace(recipe, batch_size=BATCH) for name, recipe in chosen.items()}


def planned(seconds: float, speed: float) -> dict[str, Any]:
    """What the planner would do on a computer of that speed; a training step costs three forward passes."""

    def cost(recipe: Recipe, dataset: Dataset, *how: Any) -> Cost:
        size = network_size(recipe.network, dataset)
        forward = 2 * size.multiply_adds / speed
        return Cost(size, 3 * forward, forward, 500 * 2**20, 8 * size.activations)

    machine = Machine("cpu", "imagined", 2, "float32", speed / 1e9)
    # The planner's own time counts, too, and is not the same twice.
    still = mock.patch.object(planner.time, "monotonic", return_value=0.0)
    with still, mock.patch.object(planner, "measure_cost", cost):
        plan = planner.make_plan(cifar10_like(), PROBE, machine, seconds=seconds)
    images = plan.steps * plan.recipe.batch_size
    return {
        "network": str(plan.recipe.network),
        "views": plan.recipe.views,
        "images": images,
        "flops": 6 * images * plan.multiply_adds,
    }


def counted() -> dict[str, Any]:
    return {
        "steps": {name: work_of_steps(recipe) for name, recipe in recipes().items()},
        "plans": {
            f"{seconds} s, {name}": planned(seconds, speed) for name, speed in SPEEDS.items() for seconds in BUDGETS
        },
    }


def complaints(found: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """A sentence for everything that is more work than recorded, or another plan."""
    told = []
    for name, counts in found["steps"].items():
        for what, number in counts.items():
            before = recorded["steps"].get(name, {}).get(what, 0)
            if number > (1 + MORE) * before:
                told.append(f"{STEPS} training steps of {name} take {number:,} {what}, not {before:,}")
    for name, plan in found["plans"].items():
        before = recorded["plans"].get(name, {})
        if (plan["network"], plan["views"]) != (before.get("network"), before.get("views")):
            told.append(f"{name}: the plan is {plan['network']} with {plan['views']} views, not {before}")
        elif abs(plan["images"] - before["images"]) > OTHER * before["images"]:
            told.append(f"{name}: the plan trains {plan['images']:,} images, not {before['images']:,}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("write", "check"))
    found = counted()
    if parser.parse_args().command == "write":
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        return
    told = complaints(found, json.loads(RESULTS.read_text()))
    print("\n".join(told) or "no more work than recorded")
    sys.exit(bool(told))


if __name__ == "__main__":
    main()
