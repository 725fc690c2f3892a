"""The display of a climb: the progress of a run becomes that of the whole."""

from __future__ import annotations

import time

from rung.progress import TrainingDisplay
from rung.runs import Epoch


class Shown:
    """A :class:`~rung.progress.TrainingDisplay` of one run inside a climb.

    Args:
        display: that of the climb.
        name: of the run.
        started: when the climb began, on :func:`time.monotonic`'s clock.
        budget: seconds that it has.
    """

    def __init__(self, display: TrainingDisplay, name: str, started: float, budget: float) -> None:
        self._display = display
        self._started = started
        self._budget = budget
        display.progress(name, 0, None)

    def progress(self, description: str, done: int, total: int | None) -> None:
        self._display.progress(description, done, total)

    def start(self, plan_lines: list[str]) -> None:
        """A run needs no introduction."""

    def step(
        self,
        fraction: float,
        epoch: float,
        loss: float,
        accuracy: float,
        images_per_second: float,
        seconds_left: float,
    ) -> None:
        used = time.monotonic() - self._started
        left = max(0.0, self._budget - used)
        self._display.step(min(1.0, used / self._budget), epoch, loss, accuracy, images_per_second, left)

    def epoch(self, row: Epoch) -> None:
        """Rows are in the history of the run; a climb has hundreds."""

    def message(self, text: str) -> None:
        self._display.message(text)

    def finish(self) -> None:
        """The climb goes on."""
