"""What is kept of a training while it runs: history, TensorBoard events and checkpoints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from rung.events import EventWriter
from rung.progress import TrainingDisplay
from rung.runs import CHECKPOINT, Run
from rung.training.checkpoint import save_checkpoint
from rung.training.clocks import Clock
from rung.training.loop import TrainingState
from rung.training.session import DisplayObserver

# Seconds between two checkpoints.
CHECKPOINT_SECONDS = 20.0
# Seconds between two writings of the history, each of which waits for the disk.
HISTORY_SECONDS = 1.0
# A single slow row must not end a training, and the first is slow where libraries prepare themselves in it: the rest is
# expected to be as much slower than planned as the median of so many last rows, or of those of so many seconds if there
# are more, and at most and at least so many times.
RECENT_ROWS, RECENT_SECONDS = 3, 2.0
MOST_SLOWER, LEAST_SLOWER = 3.0, 0.7


class Recorder:
    """The :class:`~rung.training.loop.Observer` of a run.

    It also tells the clock, row by row, how long everything after the training will take, and when the user asks
    to stop, it saves the state from which an uninterrupted training would have gone on.

    Args:
        run: where to write.
        clock: of the training.
        display: where to show the progress.
        steps_per_epoch: turns steps into epochs.
        seconds_after: the time that everything after the training takes at the speed of the plan.
        planned: training images and seconds that the plan has for them.
        interrupted: whether the user has asked to stop.
    """

    def __init__(
        self,
        run: Run,
        clock: Clock,
        display: TrainingDisplay,
        *,
        steps_per_epoch: int,
        seconds_after: float,
        planned: tuple[float, float],
        interrupted: Callable[[], bool],
    ) -> None:
        self._run = run
        self._clock = clock
        self._display = display
        self._shown = DisplayObserver(display, steps_per_epoch)
        self._seconds_after = seconds_after
        self._planned = planned
        self._interrupted = interrupted
        self._stopped = False
        self._checkpointed = time.monotonic()
        self._written = -HISTORY_SECONDS
        self._unwritten: TrainingState | None = None
        self._events = EventWriter(run.path)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._write_history()
        finally:
            self._events.close()

    def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
        self._shown.step(state, progress, seconds_left)
        if self._interrupted() and not self._stopped:
            self._stopped = True
            self._save(state)
            self._display.message("Stopped. The best weights so far are evaluated; Ctrl-C again leaves at once.")
        # After a stop a row is added that an uninterrupted training would not have had.
        elif not self._stopped and time.monotonic() - self._checkpointed >= CHECKPOINT_SECONDS:
            self._save(state)

    def row(self, state: TrainingState) -> None:
        self._shown.row(state)
        self._events.write(state.history[-1])
        self._unwritten = state
        if time.monotonic() - self._written >= HISTORY_SECONDS:
            self._write_history()
        # When the computer is slower than planned, everything after the training will take longer, too.
        images, seconds = self._planned
        first = state.history[0]
        least = LEAST_SLOWER
        if first.step == 0:
            seconds -= first.seconds  # A head to begin with, before the first of those images.
            least = 1.0  # Another engine evaluates, and does not get faster where steps do.
        recent = sum(row.seconds > state.history[-1].seconds - RECENT_SECONDS for row in state.history)
        speeds = [row.images_per_second for row in state.history[-max(RECENT_ROWS, recent) :]]
        known = [speed for speed in speeds if speed > 0]  # The row of a head has none.
        if known:
            slower = images / max(seconds, 1e-9) / statistics.median_high(known)
            most = MOST_SLOWER if len(known) > 1 else 1.0
            self._clock.reserve(self._seconds_after * min(max(slower, least), most))

    def _write_history(self) -> None:
        if self._unwritten is not None:
            self._run.write_history(self._unwritten.history)
            self._unwritten = None
            self._written = time.monotonic()

    def _save(self, state: TrainingState) -> None:
        save_checkpoint(self._run.path / CHECKPOINT, state)
        self._checkpointed = time.monotonic()
