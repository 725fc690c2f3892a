"""Trials beside each other: each takes one core."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")


def spread(work: Callable[[T], R], todo: Iterable[T], processes: int, until: float) -> Iterator[R]:
    """What ``work`` makes of each, in so many processes, in order; nothing is begun after ``until``."""
    if processes == 1:
        yield from (work(one) for one in todo if time.monotonic() < until)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        results = [pool.submit(work, one) for one in todo]
        for result in results:
            if time.monotonic() > until:
                pool.shutdown(cancel_futures=True)
                return
            yield result.result()
