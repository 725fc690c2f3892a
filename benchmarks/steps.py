"""What a training step takes, and what the allocator and the spinning of threads have to do with it.

    python benchmarks/steps.py layers               # convolutions against a matrix product and a copy
    python benchmarks/steps.py separable            # fine-tuning with torch's gradients, and with ours
    python benchmarks/steps.py spectral             # convolutions and steps, torch's way and through spectra
    python benchmarks/steps.py stacked              # bfloat16: with torch's gradient of the weights, and with ours
    python benchmarks/steps.py recorded             # a CUDA GPU: one operation at a time, and as a recorded graph
    python benchmarks/steps.py memory --rounds 4    # memory that is kept for the next step, against memory given back
    python benchmarks/steps.py spin --rounds 4      # how long a thread of GNU's OpenMP spins before it sleeps
    python benchmarks/steps.py spin --busy          # the same with another program on one core
    python benchmarks/steps.py crowd --rounds 20    # one thread against all, beside other programs
    python benchmarks/steps.py precision --busy     # which arithmetic is chosen, beside two programs that convolve

Each measurement is a process of its own; those that are compared take turns. Printed are medians over the rounds, with
the least and the most. Images are noise: nothing is learnt here.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.beside import CONVOLVE, LOOP, beside

if TYPE_CHECKING:
    from rung.training.step import Step

NETWORKS = (((16, 16), (32, 32), (64, 64)), ((32, 32), (64, 64), (128, 128)), ((64, 64), (128, 128), (256, 256)))
BATCH, STEPS = 250, 12
WAYS: dict[str, dict[str, dict[str, str]]] = {
    "memory": {"kept": {}, "given back": {"RUNG_STEPS_GIVE_BACK": "1"}},
    "spin": {"as it is": {}} | {count: {"GOMP_SPINCOUNT": count} for count in ("1000", "10000", "30000", "100000")},
}


def steps() -> list[float]:
    """Milliseconds of a training step of each network, on all cores."""
    import torch
    from torch.nn import functional as F

    from rung.memory import keeping_freed_memory
    from rung.models.classifier import Classifier, autocast
    from rung.models.fast import FastConfig
    from rung.training.device import measure_machine
    from rung.training.optimizers import Optimizers
    from rung.training.recipe import Recipe
    from rung.training.threads import set_threads

    set_threads(None)
    cpu = torch.device("cpu")
    precision = measure_machine(cpu).precision
    images = torch.randint(0, 255, (BATCH, 32, 32, 3), dtype=torch.uint8)
    labels = torch.randint(0, 10, (BATCH,))
    keeping = contextlib.nullcontext() if "RUNG_STEPS_GIVE_BACK" in os.environ else keeping_freed_memory()
    taken = []
    with keeping:
        for stages in NETWORKS:
            config = FastConfig(stages=stages)
            model = Classifier(config.build((32, 32), 3, 10), [128.0] * 3, [64.0] * 3)
            optimizers = Optimizers(model.network, Recipe(network=config))

            def step(model: Classifier = model, optimizers: Optimizers = optimizers) -> None:
                with autocast(cpu, precision):
                    logits = model(images)
                F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
                optimizers.step(0.0)

            taken.append(1e3 * mean_seconds(step, STEPS))
    return taken


def mean_seconds(work: Callable[[], object], times: int) -> float:
    """The mean of ``times`` runs, after two that do not count."""
    work()
    work()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


def precisions(rounds: int, busy: bool) -> None:
    """How often each arithmetic is chosen, with a thread for each core and with one."""
    import torch

    from rung.training.device import measure_machine
    from rung.training.threads import set_threads

    with beside(*([CONVOLVE] * 2 if busy else [])):
        time.sleep(5 if busy else 0)
        for threads in (None, 1):  # Never more than before.
            set_threads(threads)
            began = time.perf_counter()
            chosen = Counter(measure_machine(torch.device("cpu")).precision for _ in range(rounds))
            each = (time.perf_counter() - began) / rounds
            print(f"{torch.get_num_threads()} threads: {dict(chosen)}, {each:.2f} s each")


def crowd(rounds: int) -> None:
    """Short pieces of work a second, with one thread and with one for each core, beside other programs."""
    from rung.training import threads
    from rung.training.threads import TRIAL, pieces_per_second, set_threads

    most = set_threads(None)
    print(f"| beside | one thread | {most} threads | fewer are used |\n|---|---|---|---|")
    for name, programs in (("nothing", []), ("a loop", [LOOP]), ("convolutions", [CONVOLVE])):
        alone, together, fewer = [], [], 0
        with beside(*programs):
            time.sleep(5 if programs else 0)
            for _ in range(rounds):
                alone.append(pieces_per_second(1, TRIAL))
                together.append(pieces_per_second(most, TRIAL))
                threads._felt = (-math.inf, 0, 0)  # Asked anew each time.
                fewer += threads.uncrowded_threads() < most
                time.sleep(0.2)
        print(f"| {name} | {statistics.median(alone):.0f} | {statistics.median(together):.0f} | {fewer} of {rounds} |")


def compare(what: str, rounds: int, busy: bool) -> None:
    taken: dict[str, list[list[float]]] = {name: [] for name in WAYS[what]}
    with beside(*([LOOP] if busy else [])):
        for _ in range(rounds):
            for name, settings in WAYS[what].items():
                command = [sys.executable, __file__, "one"]
                output = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, check=True).stdout
                taken[name].append(json.loads(output))
    widths = ["-".join(str(stage[0]) for stage in stages) for stages in NETWORKS]
    print(f"| {what} | {' | '.join(f'{width}, ms a step' for width in widths)} |\n|---|{'---|' * len(widths)}")
    for name, values in taken.items():
        cells = [
            f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in map(list, zip(*values, strict=True))
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def layers() -> None:
    """The convolutions of the networks in float32, in 10⁹ operations a second, beside what the machine can do."""
    import torch
    from torch.nn import functional as F

    from rung.memory import keeping_freed_memory
    from rung.training.threads import set_threads

    set_threads(None)
    with keeping_freed_memory():
        matrix = torch.randn(2048, 2048)
        print(f"matrix product {2 * 2048**3 / mean_seconds(lambda: matrix @ matrix, 3) / 1e9:.0f} GFLOP/s")
        block = torch.randn(4 * 2**20)
        target = torch.empty_like(block)
        print(f"copy {2 * 4 * block.numel() / mean_seconds(lambda: target.copy_(block), 9) / 1e9:.0f} GB/s")
        print("| convolution | forward | data | weights |\n|---|---|---|---|")
        for inputs, outputs, side in ((24, 32, 31), (32, 64, 15), (64, 128, 7), (128, 128, 3), (64, 256, 15)):
            x = torch.randn(BATCH, inputs, side, side).to(memory_format=torch.channels_last)
            w = torch.randn(outputs, inputs, 3, 3).to(memory_format=torch.channels_last)
            y = F.conv2d(x, w, padding=1)

            def backward(data: bool, x: torch.Tensor = x, w: torch.Tensor = w, y: torch.Tensor = y) -> None:
                wanted = [data, not data, False]
                torch.ops.aten.convolution_backward(y, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted)

            works = (lambda x=x, w=w: F.conv2d(x, w, padding=1), lambda: backward(True), lambda: backward(False))
            rates = [2 * y.numel() * inputs * 9 / mean_seconds(work, 3) / 1e9 for work in works]
            print(f"| {inputs} to {outputs}, {side}×{side} | {' | '.join(f'{rate:.0f}' for rate in rates)} |")


def separable(rounds: int) -> None:
    """Steps of fine-tuning EfficientNet-Lite0, in images a second, the two gradients in turns; weights are random."""
    import torch
    from torch.nn import functional as F

    from rung.memory import keeping_freed_memory
    from rung.models import separable as ours
    from rung.models.classifier import autocast
    from rung.models.pretrained import Learns, PretrainedConfig
    from rung.training.threads import set_threads

    set_threads(None)
    images, labels = torch.randn(32, 3, 32, 32).to(memory_format=torch.channels_last), torch.randint(0, 10, (32,))
    limits = {"torch's": ({}, 0), "ours": (ours.LEAST, ours.SMALL)}
    print("| precision | learns, pixels a side | torch's | ours |\n|---|---|---|---|")
    learning: tuple[Learns, ...] = ("all", "upper")
    for precision, side, learns in itertools.product(("float32", "bfloat16"), (64, 96, 128), learning):
        network = PretrainedConfig(side=side, learns=learns).build((32, 32), 3, 10).train()
        rates: dict[str, list[float]] = {name: [] for name in limits}

        def step(network: torch.nn.Module = network, precision: str = precision) -> None:
            with autocast(torch.device("cpu"), precision):
                logits = network(images)
            F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
            network.zero_grad()

        for name, (least, small) in list(limits.items()) * rounds:
            ours.LEAST, ours.SMALL = least, small
            with keeping_freed_memory():
                rates[name].append(len(images) / mean_seconds(step, STEPS))
        cells = [f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in rates.values()]
        print(f"| {precision} | {learns}, {side} | {' | '.join(cells)} |", flush=True)


def spectral(rounds: int, precision: str) -> None:
    """Convolutions with their gradients, then whole steps, in ms: torch's way and through spectra, in turns."""
    import torch
    from torch.nn import functional as F

    from rung.memory import keeping_freed_memory
    from rung.models import convolution
    from rung.models import stacked as unit
    from rung.models.spectral import convolve
    from rung.training.step import Step
    from rung.training.threads import set_threads

    set_threads(None)
    unit.has_matrix_unit = lambda: False
    shapes = [(7, 64, 64), (7, 64, 128), (7, 256, 256), (3, 128, 128), (3, 256, 256), (8, 64, 128), (15, 64, 256)]
    dtype = getattr(torch, precision)
    print("| convolution | torch's | ours |\n|---|---|---|")
    for side, inputs, outputs in shapes:
        image, kernel = torch.randn(BATCH, inputs, side, side), torch.randn(outputs, inputs, 3, 3)
        x, w = (part.to(dtype, memory_format=torch.channels_last).requires_grad_() for part in (image, kernel))
        ways: dict[str, Callable[..., torch.Tensor]] = {"torch's": partial(F.conv2d, padding=1), "ours": convolve}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for name, way in list(ways.items()) * rounds:

            def learn(way: Callable[..., torch.Tensor] = way, x: torch.Tensor = x, w: torch.Tensor = w) -> None:
                y = way(x, w)
                torch.autograd.grad(y, (x, w), y.detach())

            with keeping_freed_memory():
                taken[name].append(1e3 * mean_seconds(learn, STEPS))
        what = f"{inputs} to {outputs}, {side}×{side}"
        print(f"| {what} | {' | '.join(map(summary, taken.values()))} |", flush=True)
    print("\n| network | torch's | ours |\n|---|---|---|")
    least = {"torch's": 10**9, "ours": convolution.CHANNELS}
    networks = (*NETWORKS, ((32, 32), (96, 96), (192, 192)), ((64, 64), (256, 256), (256, 256)))
    for stages in networks:
        step = whole_step(stages, BATCH, torch.device("cpu"), Step, precision)
        taken = {name: [] for name in least}
        for name, channels in list(least.items()) * rounds:
            convolution.CHANNELS = channels
            with keeping_freed_memory():
                taken[name].append(1e3 * mean_seconds(step, 4))
        what = "-".join(str(stage[0]) for stage in stages)
        print(f"| {what} | {' | '.join(map(summary, taken.values()))} |", flush=True)


def summary(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def stacked(rounds: int) -> None:
    """Steps in bfloat16, milliseconds, with small maps as they are and side by side, in turns."""
    import torch

    from rung.memory import keeping_freed_memory
    from rung.models import stacked as ours
    from rung.training.step import Step
    from rung.training.threads import set_threads

    set_threads(None)
    ours.has_matrix_unit = lambda: True
    widest = {"torch's": 0, "ours": ours.NARROW}
    print("| network | torch's | ours |\n|---|---|---|")
    for stages in (*NETWORKS, ((64, 64), (256, 256), (256, 256))):
        step = whole_step(stages, BATCH, torch.device("cpu"), Step)
        taken: dict[str, list[float]] = {name: [] for name in widest}
        for name, wide in list(widest.items()) * rounds:
            ours.NARROW = wide
            with keeping_freed_memory():
                taken[name].append(1e3 * mean_seconds(step, STEPS))
        what = "-".join(str(stage[0]) for stage in stages)
        print(f"| {what} | {' | '.join(map(summary, taken.values()))} |", flush=True)


def recorded() -> None:
    """Images a second of whole steps on a GPU, the batches included: made one operation at a time, and recorded."""
    import torch

    from rung.training.device import choose_device
    from rung.training.step import RecordedStep, Step

    gpu = choose_device("cuda")
    wide = (((64, 64), (256, 256), (256, 256)), ((128, 128), (384, 384), (512, 512)))
    print("| network | batch | by hand | recorded |\n|---|---|---|---|")
    for stages in (NETWORKS[1], *wide):
        for batch in (250, 1000):
            rates = []
            for kind in (Step, RecordedStep):
                step = whole_step(stages, batch, gpu, kind)
                for _ in range(6):
                    step()
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(40):
                    step()
                torch.cuda.synchronize()
                rates.append(40 * batch / (time.perf_counter() - start))
            print(f"| {'-'.join(str(stage[0]) for stage in stages)} | {batch} | {rates[0]:,.0f} | {rates[1]:,.0f} |")


def whole_step(
    stages: tuple[tuple[int, ...], ...], batch: int, device: Any, kind: type[Step], precision: str = "bfloat16"
) -> Callable[[], object]:
    """A training step on images of noise; each call makes the next one."""
    import numpy as np

    from rung.data.batches import make_batches
    from rung.data.dataset import Dataset, Split
    from rung.models.fast import FastConfig
    from rung.training.recipe import Recipe
    from rung.training.session import new_state

    count = 20 * batch
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    split = Split("train", images, np.arange(count), np.arange(count) % 10)
    dataset = Dataset("noise", "nowhere", tuple(map(str, range(10))), split, split, split, "00" * 32)
    recipe = Recipe(network=FastConfig(stages=stages), batch_size=batch)
    state = new_state(recipe, dataset, device, 0)
    batches = make_batches(split, batch, recipe.augmentation, 0, device)
    step = kind(state.model, state.optimizers, batches, recipe, classes=10, precision=precision)
    state.model.train()
    numbers = iter(range(10**9))
    return lambda: step(next(numbers), 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what",
        choices=[
            "layers",
            "separable",
            "spectral",
            "stacked",
            "recorded",
            "memory",
            "spin",
            "crowd",
            "precision",
            "one",
        ],
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of spectral")
    parser.add_argument("--busy", action="store_true")
    arguments = parser.parse_args()
    if arguments.what == "one":
        print(json.dumps(steps()))
    elif arguments.what == "layers":
        layers()
    elif arguments.what == "separable":
        separable(arguments.rounds)
    elif arguments.what == "spectral":
        spectral(arguments.rounds, arguments.precision)
    elif arguments.what == "stacked":
        stacked(arguments.rounds)
    elif arguments.what == "recorded":
        recorded()
    elif arguments.what == "crowd":
        crowd(arguments.rounds)
    elif arguments.what == "precision":
        precisions(arguments.rounds, arguments.busy)
    else:
        compare(arguments.what, arguments.rounds, arguments.busy)


if __name__ == "__main__":
    main()
