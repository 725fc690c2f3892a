from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rung.pipeline import recorder as module
from rung.pipeline.recorder import Recorder
from rung.progress import SilentDisplay
from rung.runs import CHECKPOINT, Epoch, Run
from rung.training.clocks import StepClock


class Time:
    now = 50.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now


class Clock(StepClock):
    reserved = math.nan

    def reserve(self, seconds: float) -> None:
        self.reserved = seconds


class Messages(SilentDisplay):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


class World:
    """A recorder with everything around it that it uses."""

    def __init__(self, path: Path) -> None:
        self.run = Run.create(path, "x", {"status": "running"})
        self.clock, self.display, self.asked = Clock(10), Messages(), False
        self.state: Any = SimpleNamespace(step=0, history=[])
        self.state.loss = self.state.accuracy = self.state.images_per_second = 1.0
        self.saved: list[int] = []
        self.recorder = Recorder(
            self.run,
            self.clock,
            self.display,
            steps_per_epoch=5,
            seconds_after=10.0,
            planned=(1000.0, 10.0),
            interrupted=lambda: self.asked,
        )

    def step(self) -> None:
        self.state.step += 1
        self.recorder.step(self.state, 0.1, 1.0)

    def row(self, speed: float = 100.0, seconds: float = 0.0) -> None:
        self.state.history.append(Epoch(1.0, self.state.step, seconds, 0.1, 1.0, 0.5, 1.0, 0.5, speed))
        self.recorder.row(self.state)

    @property
    def rows_on_disk(self) -> int:
        return len(self.run.history)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    Time.now = 50.0
    monkeypatch.setattr(module, "time", Time)
    found = World(tmp_path / "run")

    def save(folder: Path, state: Any) -> None:
        assert folder == found.run.path / CHECKPOINT
        found.saved.append(state.step)

    monkeypatch.setattr(module, "save_checkpoint", save)
    return found


def test_the_history_is_written_once_a_second_and_at_the_end(world: World) -> None:
    with world.recorder:
        world.row()
        assert world.rows_on_disk == 1
        for _ in range(5):
            Time.now += 0.1
            world.row()
        assert world.rows_on_disk == 1
        Time.now += 1
        world.row()
        assert world.rows_on_disk == 7
        world.row()
    assert world.rows_on_disk == 8


def test_the_history_is_written_even_when_the_training_fails(world: World) -> None:
    with pytest.raises(RuntimeError), world.recorder:
        world.row()
        world.row()
        raise RuntimeError
    assert world.rows_on_disk == 2


def test_what_a_head_to_begin_with_took_is_not_the_speed_of_steps(world: World) -> None:
    with world.recorder:
        world.row(math.nan, seconds=5.0)
        assert math.isnan(world.clock.reserved)
        world.step()
        world.row(200.0)
        assert world.clock.reserved == pytest.approx(10.0)
        # What evaluates is another engine, and no faster for that.
        world.row(2000.0)
        assert world.clock.reserved == pytest.approx(10.0)


def test_checkpoints_come_now_and_then_between_rows_too(world: World) -> None:
    with world.recorder:
        for _ in range(11):
            Time.now += 4
            world.step()
        # After 20 and 40 seconds: the fifth step and the tenth.
        assert world.saved == [5, 10]


def test_a_stop_saves_the_state_once_and_nothing_after_it(world: World) -> None:
    with world.recorder:
        world.step()
        world.asked = True
        world.step()
        world.step()
        Time.now += 100
        world.row()
    assert world.saved == [2]
    assert len(world.display.messages) == 1 and "Ctrl-C again" in world.display.messages[0]


def test_a_slower_computer_reserves_more(world: World) -> None:
    with world.recorder:
        world.step()
        world.row()
        assert world.clock.reserved == pytest.approx(10)
        for second, (speed, reserved) in enumerate([(50.0, 20), (1.0, 30), (1000.0, 7)]):
            world.row(speed=speed, seconds=10.0 * second + 10)
            world.row(speed=speed, seconds=10.0 * second + 15)
            assert world.clock.reserved == pytest.approx(reserved)


@pytest.mark.parametrize("speeds", [(100.0, 100.0, 20.0, 100.0), (20.0, 100.0, 100.0)], ids=["later", "the first"])
def test_a_single_slow_row_reserves_nothing_more(world: World, speeds: tuple[float, ...]) -> None:
    with world.recorder:
        for speed in speeds:
            world.row(speed=speed)
            assert world.clock.reserved == pytest.approx(10)


def test_a_slow_second_of_many_rows_reserves_nothing_more(world: World) -> None:
    with world.recorder:
        for tenth in range(30):
            world.row(speed=20.0 if 15 <= tenth < 22 else 100.0, seconds=0.1 * tenth)
            assert world.clock.reserved == pytest.approx(10)
