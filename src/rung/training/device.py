"""What this computer is, and which arithmetic is fastest on it: measured, not looked up in a list of names."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from rung.errors import UsageError
from rung.training.threads import using_threads

# How many times as fast as float32 bfloat16 must be. Measured as below it is 1.5 to 2.4 times as fast with instructions
# for it (AVX-512 BF16), 0.34 to 0.44 times with AVX-512 alone and 0.08 times with AVX2: so far from all of these, noise
# does not change the choice, nor the weights.
ADVANTAGE = 1.1
# As fast as this, bfloat16 is emulated: there is nothing to find out by trying it longer.
HOPELESS = 0.25
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Machine:
    """The computer as the planner sees it.

    ``precision`` is the faster of ``"float32"`` and ``"bfloat16"``; ``gflops`` its rate in a convolution that
    is forward and backward like those of training, in 10⁹ floating-point operations a second.
    """

    device: str
    processor: str
    threads: int
    precision: str
    gflops: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose_device(name: str = "auto") -> torch.device:
    """The device to train on; ``"auto"`` prefers CUDA, then the CPU.

    Raises:
        UsageError: the name is unknown, or this computer or this torch has no such device.
    """
    if name not in DEVICES:
        raise UsageError(f"there is no device {name!r}; choose one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "device cuda was asked for, but this torch sees no CUDA GPU; leave --device out to use the CPU"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError(
            "device mps was asked for, but this torch sees no Apple GPU; leave --device out to use the CPU"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def measure_machine(device: torch.device, precision: str | None = None) -> Machine:
    """Find the faster precision and its rate in about a tenth of a second.

    Args:
        device: where training will be.
        precision: instead of the faster one.
    """
    chosen = precision or faster_precision(device)
    rate = _convolution_rate(device, chosen, batch=16 if device.type == "cpu" else 512, repeats=3)
    return Machine(str(device), processor_name(device), torch.get_num_threads(), chosen, rate)


def faster_precision(device: torch.device) -> str:
    """``"float32"`` or ``"bfloat16"``.

    Weights that a seed shall give again depend on the answer, so other programs must not: a CPU is asked with one
    thread, which has nobody to wait for, and where the system counts the thread's own computing time, by that.
    """
    batch, clock = (16, own_clock()) if device.type == "cpu" else (512, time.perf_counter)
    single = half = 0.0
    with using_threads(1 if device.type == "cpu" else None):
        # In turns, and the best of each counts. Where the answer is not clear it is asked again.
        for turn in range(10):
            single = max(single, _convolution_rate(device, "float32", batch, clock=clock))
            half = max(half, _convolution_rate(device, "bfloat16", batch, clock=clock, known=single))
            if turn >= 1 and not _doubtful(half / single):
                break
    return "bfloat16" if half > ADVANTAGE * single else "float32"


def own_clock() -> Callable[[], float]:
    """The clock that stands still while other programs have the core; the wall's where there is none for milliseconds.

    Windows counts a thread's time in ticks of 16 ms, and on macOS a product may be computed by other threads.
    """
    return time.thread_time if sys.platform == "linux" else time.perf_counter


def _doubtful(ratio: float) -> bool:
    return ADVANTAGE / 1.3 < ratio < ADVANTAGE * 1.3


def _convolution_rate(
    device: torch.device,
    precision: str,
    batch: int,
    *,
    repeats: int = 2,
    clock: Callable[[], float] | None = None,
    known: float = 0.0,
) -> float:
    """Operations a second in 10⁹; one try has to do where it shows less than ``HOPELESS`` times the ``known`` rate."""
    channels, side = (64, 16) if device.type == "cpu" else (128, 16)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    shape = (batch, channels, side, side)
    images = torch.ones(shape, device=device, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.ones((channels, channels, 3, 3), device=device, dtype=dtype, requires_grad=True)

    def step() -> None:
        F.conv2d(images, weight, padding=1).sum().backward()  # type: ignore[no-untyped-call]

    operations = 3 * 2 * batch * side * side * channels * channels * 9
    enough = operations / 1e9 / (HOPELESS * known) if known else math.inf
    return operations / fastest_seconds(step, device, repeats, enough, clock) / 1e9


def fastest_seconds(
    work: Callable[[], object],
    device: torch.device,
    repeats: int,
    enough: float = math.inf,
    clock: Callable[[], float] | None = None,
) -> float:
    """The shortest of ``repeats`` timings of ``work``, in seconds, after one that does not count.

    As soon as one takes longer than ``enough`` seconds, the first included, it is the answer. ``clock`` is by default
    the wall's.
    """
    clock = clock or time.perf_counter
    shortest = math.inf
    for attempt in range(repeats + 1):
        start = clock()
        work()
        wait_for(device)
        seconds = clock() - start
        if attempt or seconds > enough:
            shortest = min(shortest, seconds)
        if seconds > enough:
            break
    return shortest


def wait_for(device: torch.device) -> None:
    """Return when the device has done everything that it was given; a CPU has done it already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def processor_name(device: torch.device) -> str:
    """The name of the processor that trains, for people to read."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"
