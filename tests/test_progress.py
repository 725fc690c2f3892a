from __future__ import annotations

import io
import math
import subprocess
import sys
import time

import pytest

from rung.progress import LiveDisplay, PlainDisplay, SilentDisplay, TrainingDisplay, training_display
from rung.runs import Epoch


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def row(number: float) -> Epoch:
    return Epoch(number, int(100 * number), 4.0 * number, 0.1, 0.8123, 0.712, 0.9, 0.741, 1190.0)


def step(display: TrainingDisplay, fraction: float = 0.42) -> None:
    display.step(fraction, 1.3, 0.91, 0.672, 1190.0, 35.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


# --- which display -------------------------------------------------------------------------------


def test_a_terminal_is_live_and_anything_else_is_plain() -> None:
    assert isinstance(training_display(Terminal()), LiveDisplay)
    assert not isinstance(training_display(io.StringIO()), LiveDisplay)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_plain(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    assert not isinstance(training_display(Terminal()), LiveDisplay)


def test_without_a_standard_error_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert isinstance(training_display(), SilentDisplay)
    closed = io.StringIO()
    closed.close()
    assert isinstance(training_display(closed), SilentDisplay)


def test_the_default_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    training_display().message("hello")
    captured = capsys.readouterr()
    assert captured.err == "hello\n"
    assert captured.out == ""


# --- plain lines ---------------------------------------------------------------------------------


def test_plain_lines_tell_the_plan_the_epochs_and_the_messages(clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, clock)
    display.start(["64-128-128 for 2 epochs", "because it fits in 15 s"])
    display.epoch(row(1))
    display.message("stopping")
    display.finish()
    assert stream.getvalue().splitlines() == [
        "64-128-128 for 2 epochs",
        "because it fits in 15 s",
        "epoch   1.0  loss 0.812  train 71.2 %  val 74.1 %  1,190 images/s  4 s",
        "stopping",
    ]


def test_short_epochs_do_not_flood_a_log_and_the_last_is_shown(clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, clock)
    for number in range(1, 101):
        clock.now = 0.1 * number
        display.epoch(row(number))
    display.finish()
    display.finish()
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 7
    assert lines[0].startswith("epoch   1.0")
    assert [line for line in lines if line.startswith("epoch 100.0")] == lines[-1:]


def test_long_epochs_give_a_sign_of_life(clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, clock)
    for tenth in range(300):
        clock.now = 0.1 * tenth
        step(display)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0] == " 42 %  35 s left  epoch 1.3  loss 0.910  train 67.2 %  1,190 images/s"


def test_loading_shows_only_where_it_takes_long(clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, clock)
    display.progress("checking files", 0, None)
    display.progress("checking files", 300, None)
    for second in range(8):
        clock.now = second
        display.progress("reading images", 1000 * second, 8000)
    assert stream.getvalue().splitlines() == ["reading images: 3,000 of 8,000", "reading images: 6,000 of 8,000"]
    clock.now += 5
    display.progress("reading images", 9000, None)
    assert stream.getvalue().splitlines()[-1] == "reading images: 9,000"


def test_what_is_not_known_is_a_dash(clock: Clock) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, clock)
    display.epoch(Epoch(1, 1, 1, 0.1, math.nan, math.nan, math.inf, 0.5, math.nan))
    clock.now = 20
    display.step(0.5, 1, math.nan, math.nan, math.nan, math.inf)
    first, second = stream.getvalue().splitlines()
    assert "nan" not in first + second
    assert "unknown left" in second


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
def test_a_reader_that_has_gone_does_not_end_a_training(kind: type[PlainDisplay], clock: Clock) -> None:
    display = kind(Broken(), clock)
    display.progress("reading", 1, 1)
    display.start(["plan"])
    clock.now = 60
    step(display)
    display.epoch(row(1))
    display.message("hello")
    display.finish()


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
def test_names_cannot_steer_the_terminal(kind: type[PlainDisplay], clock: Clock) -> None:
    stream = Terminal()
    display = kind(stream, clock)
    display.message("cat\x1b[2J\x9b2J\rdog [red]x[/red] :smile: 日本\nnext")
    text = stream.getvalue()
    assert "cat\ufffd[2J\ufffd2J\ufffddog [red]x[/red] :smile: 日本\nnext" in text
    assert "\x1b[2J" not in text


# --- the live line -------------------------------------------------------------------------------


def test_the_live_line_moves_and_is_gone_at_the_end(clock: Clock) -> None:
    stream = Terminal()
    display = LiveDisplay(stream, clock)
    display.progress("reading images", 500, 1000)
    assert "reading images: 500 of 1,000" in stream.getvalue()
    assert "\x1b[?25l" in stream.getvalue()  # the cursor is hidden …
    display.start(["the plan"])
    clock.now = 1
    step(display)
    assert " 42 %  35 s left  epoch 1.3  loss 0.910  train 67.2 %  1,190 images/s" in stream.getvalue()
    assert "━" in stream.getvalue()
    display.epoch(row(1))
    display.finish()
    text = stream.getvalue()
    assert "the plan" in text
    assert "val 74.1 %" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # … and comes back
    display.finish()
    assert stream.getvalue() == text


def test_the_live_line_is_drawn_at_most_twice_a_second(clock: Clock) -> None:
    stream = Terminal()
    display = LiveDisplay(stream, clock)
    for tenth in range(100):
        clock.now = 0.1 * tenth
        step(display)
    assert stream.getvalue().count("epoch 1.3") <= 20
    display.finish()


def test_finished_loading_is_drawn_however_fast_it_was(clock: Clock) -> None:
    stream = Terminal()
    display = LiveDisplay(stream, clock)
    display.progress("reading", 0, 10)
    display.progress("reading", 5, 10)
    display.progress("reading", 10, 10)
    display.finish()
    assert "5 of 10" not in stream.getvalue()
    assert "10 of 10" in stream.getvalue()


@pytest.mark.parametrize("columns", ["20", "72", "80", "200"])
def test_the_live_line_never_wraps(columns: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    display = LiveDisplay(stream, clock)
    step(display)
    line = stream.getvalue().splitlines()[-1].split("\r")[-1]
    assert 0 < len(line.replace("\x1b[?25l", "").replace("\x1b[2K", "")) <= int(columns)
    display.finish()


def test_a_terminal_without_unicode_gets_ascii(clock: Clock) -> None:
    class Old(Terminal):
        encoding = "cp1252"

    stream = Old()
    display = LiveDisplay(stream, clock)
    step(display)
    display.finish()
    stream.getvalue().encode("cp1252")


def test_standard_output_is_left_to_results(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    display = LiveDisplay(Terminal(), clock)
    step(display)
    print('{"accuracy": 0.9}')
    display.finish()
    assert capsys.readouterr().out == '{"accuracy": 0.9}\n'


# --- cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
def test_a_step_that_draws_nothing_costs_nearly_nothing(kind: type[PlainDisplay]) -> None:
    """Counted in processor time, and against a bound 20 times above what it takes, for busy machines."""
    display = kind(Terminal(), Clock())
    step(display)
    start = time.process_time()
    for _ in range(1000):
        step(display)
    assert (time.process_time() - start) / 1000 < 1e-4
    display.finish()


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    display = SilentDisplay()
    display.progress("reading", 1, 1)
    display.start(["plan"])
    step(display)
    display.epoch(row(1))
    display.message("hello")
    display.finish()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_importing_it_does_not_bring_rich() -> None:
    subprocess.run([sys.executable, "-c", "import sys, rung.progress; assert 'rich' not in sys.modules"], check=True)
