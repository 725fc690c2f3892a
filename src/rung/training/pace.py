"""Fewer threads while other programs have the cores.

Threads that share a step wait for the last of them. Where another program has one of the cores, that wait is long and
the whole step several times as slow; with a thread less, it is only as slow as that core is missed.
"""

from __future__ import annotations

import statistics
import time

import torch

# Steps that are judged together, by their median: those with a row of the history or a checkpoint behind them are slow.
WINDOW = 8
# As many do where they have taken as long as a whole window should: in a crowd a step can take ten times its time.
FEW, FEW_OF_A_TRIAL = 3, 2
# So many times as slow as at their best, steps may do better with fewer threads.
SLOW = 1.6
# What a change has to bring to be kept: the share of the time that is left.
BETTER = 0.9
# Steps until the next trial, at least, and times as long as one that was of no use has cost.
PATIENCE, TIMES_ITS_COST = 64, 20


class Pace:
    """Watches how long the steps take, and tries a thread less when they become slow; later, the thread again.

    Weights depend on the number of threads in their last digits. So this is for trainings of so much time, which depend
    on the moment anyway, and not for those of so many epochs. ``threads`` are those in use.

    Args:
        threads: to begin with; by default as many as there are.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._most = torch.get_num_threads()
        self._use(threads or self._most)
        self._last: float | None = None
        self._steps: list[float] = []
        self._best = float("inf")
        self._before: float | None = None
        self._next_trial: float | None = None if self.is_crowded else 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether a thread less is in use than there was at the beginning."""
        return self.threads < self._most

    def stepped(self) -> None:
        """A step has been made."""
        now = time.monotonic()
        if self._last is not None and self._most > 1:
            self._steps.append(now - self._last)
        self._last = now
        if self._window_is_full():
            self._judge(statistics.median(self._steps))
            self._steps = []

    def _window_is_full(self) -> bool:
        if self._before is None:
            few, each = FEW, SLOW * self._best
        else:
            few, each = FEW_OF_A_TRIAL, self._before
        return len(self._steps) == WINDOW or (len(self._steps) >= few and sum(self._steps) > WINDOW * each)

    def _judge(self, seconds: float) -> None:
        if self.threads == self._most:
            self._best = min(self._best, seconds)
        now = time.monotonic()
        if self._before is not None:
            wait = PATIENCE * seconds
            if seconds > BETTER * self._before:
                self._use(self._tried_from)
                lost = sum(self._steps) - len(self._steps) * self._before
                wait = max(PATIENCE * self._before, TIMES_ITS_COST * lost)
            self._before, self._next_trial = None, now + wait
        elif self._next_trial is None:
            self._next_trial = now + PATIENCE * seconds
        elif now < self._next_trial:
            pass
        elif self.threads < self._most:
            self._try(self.threads + 1, seconds)
        elif seconds > SLOW * self._best:
            self._try(self.threads - 1, seconds)

    def _try(self, threads: int, seconds: float) -> None:
        self._before, self._tried_from = seconds, self.threads
        self._use(threads)

    def _use(self, threads: int) -> None:
        self.threads = threads
        torch.set_num_threads(threads)
