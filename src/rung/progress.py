"""How long work shows itself, always on standard error, so that standard output stays for results.

Reading data reports to a :class:`Progress`, training to a :class:`TrainingDisplay`; neither knows what becomes of it:
a live line on a terminal, plain lines in a log, nothing in a library call.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from rung.budget import format_duration
from rung.terminal import harmless

if TYPE_CHECKING:
    from rich.text import Text

    from rung.runs import Epoch


class Progress(Protocol):
    """Called now and then while something long runs; must return quickly."""

    def __call__(self, description: str, done: int, total: int | None, /) -> None:
        """``done`` of ``total`` steps (images, or bytes of a download) of ``description`` are finished.

        ``total`` is None where the end is not known. The last call has ``done == total``.
        """


def silent(description: str, done: int, total: int | None, /) -> None:
    """A :class:`Progress` that shows nothing."""


# Seconds between two lines of the same kind: short epochs must not flood a log, long ones must not look like a hang.
_EPOCH_LINES = 2.0
_STEP_LINES = 10.0
_LOADING_LINES = 3.0
# Seconds between two drawings of the live line.
_REFRESH = 0.5


class TrainingDisplay(Protocol):
    """Where a training run reports to. Every method returns at once and none raises.

    The order is ``progress`` (any number), ``start``, then ``step`` and ``epoch``, then ``finish``; ``message`` fits
    anywhere. ``finish`` belongs in a ``finally``: a live display gives the cursor back there. It may be called twice.
    """

    def progress(self, description: str, done: int, total: int | None) -> None:
        """Work before or after training, such as decoding images: a :class:`Progress`."""

    def start(self, plan_lines: list[str]) -> None:
        """Training begins; ``plan_lines`` say what is going to happen and why."""

    def step(
        self,
        fraction: float,
        epoch: float,
        loss: float,
        accuracy: float,
        images_per_second: float,
        seconds_left: float,
    ) -> None:
        """Where training is.

        Args:
            fraction: of training done, 0 to 1.
            epoch: passes over the training split so far.
            loss: recent training loss in nats; NaN where it is not known.
            accuracy: recent training accuracy, 0 to 1; NaN where it is not known.
            images_per_second: recent speed.
            seconds_left: until training ends.
        """

    def epoch(self, row: Epoch) -> None:
        """An epoch has ended."""

    def message(self, text: str) -> None:
        """Something that the user must read."""

    def finish(self) -> None:
        """Training is over, however it ended."""


def training_display(stream: TextIO | None = None) -> TrainingDisplay:
    """The display that suits ``stream`` (default: standard error): live on a terminal, lines elsewhere."""
    stream = sys.stderr if stream is None else stream
    # There is no standard error under pythonw, nor in some services.
    if stream is None or stream.closed:
        return SilentDisplay()
    if stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        return LiveDisplay(stream)
    return PlainDisplay(stream)


class SilentDisplay:
    """Shows nothing: for library use and tests."""

    def progress(self, description: str, done: int, total: int | None) -> None:
        pass

    def start(self, plan_lines: list[str]) -> None:
        pass

    def step(
        self,
        fraction: float,
        epoch: float,
        loss: float,
        accuracy: float,
        images_per_second: float,
        seconds_left: float,
    ) -> None:
        pass

    def epoch(self, row: Epoch) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def finish(self) -> None:
        pass


class PlainDisplay:
    """Plain lines, few of them: for logs, pipes and terminals that cannot move their cursor.

    Args:
        stream: text is written there.
        clock: seconds from any start; for tests.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last_line = clock()
        self._last_epoch = -math.inf
        self._unshown: Epoch | None = None
        self._loading: str | None = None
        self._last_loading = 0.0

    def progress(self, description: str, done: int, total: int | None) -> None:
        now = self._clock()
        if description != self._loading:
            # The first call only starts the clock: what takes a moment needs no line.
            self._loading, self._last_loading = description, now
        elif now - self._last_loading >= _LOADING_LINES:
            self._last_loading = now
            self._write(_loading_line(description, done, total))

    def start(self, plan_lines: list[str]) -> None:
        for line in plan_lines:
            self._write(line)

    def step(
        self,
        fraction: float,
        epoch: float,
        loss: float,
        accuracy: float,
        images_per_second: float,
        seconds_left: float,
    ) -> None:
        if self._clock() - self._last_line >= _STEP_LINES:
            line = _step_line(epoch, loss, accuracy, images_per_second, seconds_left)
            self._write(f"{_percent(fraction)}  {line}")

    def epoch(self, row: Epoch) -> None:
        now = self._clock()
        if now - self._last_epoch < _EPOCH_LINES:
            self._unshown = row
            return
        self._last_epoch, self._unshown = now, None
        self._write(_epoch_line(row))

    def message(self, text: str) -> None:
        self._write(text)

    def finish(self) -> None:
        # The last epoch is the one that people look for.
        if self._unshown is not None:
            self._write(_epoch_line(self._unshown))
            self._unshown = None

    def _write(self, text: str) -> None:
        self._last_line = self._clock()
        # A log that nobody reads any more (closed, broken pipe, full disk) must not end a training.
        with contextlib.suppress(OSError, ValueError):
            self._show(_harmless(text))

    def _show(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class LiveDisplay(PlainDisplay):
    """The same lines, above one line that moves: for terminals.

    Drawn from the calls themselves, at most twice a second, which costs 2 ms each: a thread that redraws would take
    turns with the training for the interpreter.

    Args:
        stream: the terminal.
        clock: seconds from any start; for tests.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._status = ""
        self._fraction: float | None = None
        self._last_drawn = -math.inf

        from rich.console import Console
        from rich.live import Live

        class Lasting(Console):
            def on_broken_pipe(self) -> None:
                # Rich would end the program here, with standard output closed.
                self.quiet = True

        # Without highlighting and markup: a file name is not a program for the terminal.
        self._console = Lasting(file=stream, highlight=False, markup=False, emoji=False)
        # Standard output is left alone, since Rich would move it to this console, and results belong there.
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=stream is sys.stderr,
            get_renderable=self._draw,
        )

    def progress(self, description: str, done: int, total: int | None) -> None:
        self._fraction = done / total if total else None
        self._status = _loading_line(description, done, total)
        self._refresh(force=total is not None and done >= total)

    def start(self, plan_lines: list[str]) -> None:
        self._status = ""
        super().start(plan_lines)

    def step(
        self,
        fraction: float,
        epoch: float,
        loss: float,
        accuracy: float,
        images_per_second: float,
        seconds_left: float,
    ) -> None:
        if self._clock() - self._last_drawn < _REFRESH:
            return
        self._fraction = fraction
        self._status = _step_line(epoch, loss, accuracy, images_per_second, seconds_left)
        self._refresh()

    def finish(self) -> None:
        self._status = ""
        with contextlib.suppress(OSError, ValueError):
            self._live.stop()
        super().finish()

    def _show(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text))

    def _refresh(self, force: bool = False) -> None:
        now = self._clock()
        if now - self._last_drawn < _REFRESH and not force:
            return
        self._last_drawn = now
        with contextlib.suppress(OSError, ValueError):
            if not self._live.is_started:
                self._live.start()
            self._live.refresh()

    def _draw(self) -> Text:
        from rich.text import Text

        status = _harmless(self._status)
        line = Text(no_wrap=True, overflow="ellipsis")
        if status and self._fraction is not None:
            fraction = min(max(self._fraction, 0.0), 1.0)
            status = f"{_percent(fraction)}  {status}"
            # The bar takes the width that the words leave, and none where they leave too little to read it by.
            width = min(self._console.width - len(status) - 2, 30)
            if width >= 5:
                full, empty = "━─" if self._console.encoding.lower().startswith("utf") else "#."
                filled = round(width * fraction)
                line.append(full * filled, "green").append(empty * (width - filled), "bright_black").append(" ")
        return line.append(status)


def _loading_line(description: str, done: int, total: int | None) -> str:
    return f"{description}: {done:,}" if total is None else f"{description}: {done:,} of {total:,}"


def _step_line(epoch: float, loss: float, accuracy: float, images_per_second: float, seconds_left: float) -> str:
    return (
        f"{format_duration(max(seconds_left, 0))} left  epoch {epoch:.1f}  loss {_number(loss)}  "
        f"train {_accuracy(accuracy)}  {_speed(images_per_second)}"
    )


def _epoch_line(row: Epoch) -> str:
    return (
        f"epoch {row.epoch:5.1f}  loss {_number(row.train_loss)}  train {_accuracy(row.train_accuracy)}  "
        f"val {_accuracy(row.val_accuracy)}  {_speed(row.images_per_second)}  {format_duration(row.seconds)}"
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "  -  "


def _accuracy(fraction: float) -> str:
    return f"{100 * fraction:4.1f} %" if math.isfinite(fraction) else "   - %"


def _speed(images_per_second: float) -> str:
    return f"{images_per_second:,.0f} images/s" if math.isfinite(images_per_second) else "- images/s"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:3.0f} %"


def _harmless(text: str) -> str:
    """Names of files and classes come from other people; a message may have lines of its own."""
    return "\n".join(map(harmless, text.split("\n")))
