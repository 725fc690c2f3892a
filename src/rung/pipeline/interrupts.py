"""Ctrl-C: once asks the training to stop, twice leaves at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether the user has asked to stop; calling it tells."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def catch_interrupts() -> Iterator[Interrupts]:
    """Turn the first Ctrl-C into a request; the second one raises KeyboardInterrupt as usual."""
    interrupts = Interrupts()

    def handle(number: int, frame: FrameType | None) -> None:
        interrupts.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:  # Only the main thread may handle signals; elsewhere nobody presses Ctrl-C.
        yield interrupts
        return
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
