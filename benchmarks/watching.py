"""What looking inside a network costs: training steps with and without a watcher, in turns, on the same batches.

python benchmarks/watching.py cifar10 --repeats 5
python benchmarks/watching.py digits
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rung.data import load
from rung.pipeline.settings import SPLIT_SEED
from rung.training.clocks import StepClock
from rung.training.device import measure_machine
from rung.training.loop import TrainingState, fit
from rung.training.session import DisplayObserver, new_state, plan_training
from rung.training.watching import Watcher


class Blind(Watcher):
    """Sees nothing, at no cost."""

    def before(self, *args: Any) -> None:
        pass

    def gradients(self) -> None:
        pass

    def after(self, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds that the recipe is planned for")
    parser.add_argument("--steps", type=int, default=192, help="of each training")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    dataset = load(arguments.data, seed=SPLIT_SEED)
    device = torch.device("cpu")
    machine = measure_machine(device, None)
    recipe = plan_training(dataset, machine, seconds=arguments.budget).recipe

    def seconds(watcher: Watcher) -> float:
        state: TrainingState = replace(new_state(recipe, dataset, device, 0), watcher=watcher)
        start = time.perf_counter()
        fit(
            state,
            dataset,
            recipe,
            StepClock(arguments.steps),
            seed=0,
            precision=machine.precision,
            steps_per_row=arguments.steps,
            validation=dataset.val.subset(np.arange(10)),
            observer=DisplayObserver(),
        )
        return time.perf_counter() - start

    seconds(Blind())
    ratios = []
    for repeat in range(arguments.repeats):
        # In turns and in changing order, so that a computer that slows down slows both.
        order = (Blind, Watcher) if repeat % 2 else (Watcher, Blind)
        took = {kind: seconds(kind()) for kind in order}
        ratios.append(took[Watcher] / took[Blind] - 1)
        print(f"{took[Blind]:.2f} s without, {took[Watcher]:.2f} s with: {ratios[-1]:+.1%}", flush=True)
    print(
        f"{recipe.network}, batches of {recipe.batch_size}, {machine.precision}: median "
        f"{statistics.median(ratios):+.2%}"
    )


if __name__ == "__main__":
    main()
