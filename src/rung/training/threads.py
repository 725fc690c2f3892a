"""How many CPU threads compute: as many as may, but fewer where other programs have the cores or steps are tiny.

A training step is hundreds of short parallel parts, and at the end of each the threads wait for the last of them. Where
another program has a core, that one is late by milliseconds for parts of microseconds, and two threads get through a
thirtieth of what one gets through alone (``python benchmarks/steps.py crowd``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional as F

from rung.cores import usable_cores
from rung.errors import UsageError

# Operations of a training step below which a second thread is no help.
SMALL_STEP = 1e9
# Seconds for which all threads are tried. A program beside is felt in the half of such moments, or in most.
TRIAL = 0.04
# Seconds for which a program that was felt is taken to be there still, though a moment may hide it.
REMEMBERED = 30.0

# When a crowd was felt last, on time.monotonic's clock; of how many threads; and how many did best.
_felt = (-REMEMBERED, 0, 0)


def set_threads(threads: int | None) -> int:
    """Use ``threads`` CPU threads; by default as many as this process may have cores.

    Raises:
        UsageError: fewer than one thread.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"--threads must be at least 1, not {threads}")
    if threads is None:
        threads = min(usable_cores(), torch.get_num_threads())
    torch.set_num_threads(threads)
    return threads


def uncrowded_threads() -> int:
    """How many threads do best now: fewer where all together are slower than one alone, as others have the cores.

    It takes a twentieth of a second where they do not. Moments in which they rest may hide them, so it is worth asking
    again, and where they did not that is remembered for :data:`REMEMBERED` seconds. Weights depend on the number of
    threads in their last digits, so this is for work of so much time.

    Returns:
        1 to as many as there are.
    """
    global _felt
    most = torch.get_num_threads()
    when, of, best = _felt
    if of == most and time.monotonic() - when < REMEMBERED:
        return best
    # What a single moment says of a quiet computer may be chance.
    if most == 1 or not all(_is_crowded(most, seconds) for seconds in (TRIAL, 3 * TRIAL)):
        return most
    rates = {threads: pieces_per_second(threads, TRIAL) for threads in {1, most // 2, most - 1} - {most}}
    best = max(rates, key=lambda threads: rates[threads])
    _felt = time.monotonic(), most, best
    return best


def _is_crowded(most: int, seconds: float) -> bool:
    return pieces_per_second(most, seconds) < pieces_per_second(1, seconds / 4)


def pieces_per_second(threads: int, seconds: float) -> float:
    """How often so many threads get through a short piece of work, of which all can have a share.

    Args:
        threads: how many.
        seconds: for which it is tried.
    """
    images = torch.ones(16, 64, 16, 16).to(memory_format=torch.channels_last)
    weight = torch.ones(64, 64, 3, 3)

    def work() -> None:
        outputs = F.conv2d(images, weight, padding=1)
        for _ in range(8):
            outputs.add_(1.0)

    with using_threads(threads):
        work()
        made, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            work()
            made += 1
        return made / passed


@contextmanager
def worthwhile_threads(multiply_adds: int, batch_size: int) -> Iterator[None]:
    """Compute with one thread where the steps are so small that sharing them out costs more than it saves.

    Counted, not measured, so that it does not depend on the moment. Digits of 8×8 pixels are below the limit,
    CIFAR-10's images above it for every network.

    Args:
        multiply_adds: of one image going through the network.
        batch_size: images a step.
    """
    with using_threads(1 if 6 * multiply_adds * batch_size < SMALL_STEP else None):
        yield


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Compute with so many threads; with None as many as before."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def avoiding_crowd(when: bool = True) -> Iterator[None]:
    """Compute with as many threads as :func:`uncrowded_threads` finds, ``when`` that is wanted."""
    with using_threads(uncrowded_threads() if when else None):
        yield
