"""How much of a training is done: by steps, or by the time that is left."""

from __future__ import annotations

import math
import time
from typing import Protocol

# Seconds between two steps that may be a pause, and are one if they are twenty times the longest step before; but not
# twice on end, for then it is the steps that are long.
PAUSE = 20.0


class Clock(Protocol):
    """Tells the loop how far it is; the learning rate follows it, so it always reaches its end.

    ``paused`` is how many seconds of pauses it has found: time that is not used up.
    """

    paused: float

    def progress(self, step: int) -> float:
        """The share of the training that is done when ``step`` steps are; from 1 on the loop ends."""
        ...

    def seconds_left(self, step: int, seconds_per_step: float) -> float: ...

    def begin(self, done: float) -> None:
        """Say that the first step is due, or was ``done`` seconds of training ago: what came before does not count."""
        ...

    def reserve(self, seconds: float) -> None:
        """Say how long everything after the training will take."""
        ...


class StepClock:
    """A fixed number of steps: the same on every computer."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.paused = 0.0

    def progress(self, step: int) -> float:
        return step / self.steps

    def seconds_left(self, step: int, seconds_per_step: float) -> float:
        return (self.steps - step) * seconds_per_step

    def begin(self, done: float) -> None:
        """Steps are all that is counted."""

    def reserve(self, seconds: float) -> None:
        """Steps are fixed, whatever comes after them."""


class TimeClock:
    """All the time until a deadline, less what is reserved for the work after the training.

    When the computer slows down, fewer steps fit, each moves the schedule further, and the learning rate
    still falls to zero at the end.

    Args:
        deadline: on :func:`time.monotonic`'s clock, in seconds.
        reserved: seconds before the deadline that the training must leave.
        used: seconds of training that earlier parts of a resumed run have had.
        steps: after which it ends in any case.
    """

    def __init__(self, deadline: float, reserved: float, used: float = 0.0, steps: float = math.inf) -> None:
        self.start = time.monotonic() - used
        self.deadline, self.steps = deadline, steps
        self.reserved = reserved
        self.paused = 0.0
        self._asked: float | None = None
        self._longest = 0.0
        self._after_pause = False

    def progress(self, step: int) -> float:
        now = time.monotonic()
        gap = 0.0 if self._asked is None else now - self._asked
        self._asked = now
        # A process that was stopped, or a computer that slept, goes on where it was: a schedule that jumped to its end
        # would leave weights in the middle of large steps.
        possible = gap > PAUSE and self._longest > 0 and not self._after_pause
        self._after_pause = possible and gap > 20 * self._longest
        if self._after_pause:
            self.start += gap
            self.deadline += gap
            self.paused += gap
        else:
            self._longest = max(self._longest, gap)
        total = self.deadline - self.reserved - self.start
        return max(0.0, (now - self.start) / total, step / self.steps) if total > 0 else 1.0

    def seconds_left(self, step: int, seconds_per_step: float) -> float:
        left = self.deadline - self.reserved - time.monotonic()
        # No time times infinitely many steps is not a number.
        of_steps = math.inf if math.isinf(self.steps) else (self.steps - step) * seconds_per_step
        return max(0.0, min(left, of_steps))

    def begin(self, done: float) -> None:
        # However long it was, what came before is no pause in the steps, nor one of them.
        self._asked = None
        self.start = time.monotonic() - done

    def reserve(self, seconds: float) -> None:
        self.reserved = seconds
