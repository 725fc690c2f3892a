from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from rung.training import clocks
from rung.training.clocks import StepClock, TimeClock


class FakeTime:
    """Stands for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clocks, "time", fake)
    return fake


def simulate(clock: TimeClock, fake: FakeTime, seconds_of: Callable[[int], float]) -> list[float]:
    """The loop's use of the clock; returns the progress that each step was made with."""
    steps: list[float] = []
    while (progress := clock.progress(len(steps))) < 1:
        fake.now += seconds_of(len(steps))
        steps.append(progress)
    return steps


def test_steps_are_counted() -> None:
    clock = StepClock(4)
    clock.reserve(1e9)
    assert [clock.progress(step) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert clock.seconds_left(1, 2.0) == 6


@pytest.mark.parametrize(
    "seconds_of",
    [
        lambda step: 0.1,
        lambda step: 0.1 if step < 30 else 0.4,
        lambda step: 0.4 if step < 10 else 0.1,
        lambda step: 0.05 * (1 + step % 7),
    ],
    ids=["steady", "slows down", "speeds up", "uneven"],
)
def test_the_time_is_used_up_and_not_exceeded(fake: FakeTime, seconds_of: Callable[[int], float]) -> None:
    clock = TimeClock(deadline=fake.now + 12, reserved=2)
    end = fake.now + 10
    steps = simulate(clock, fake, seconds_of)
    assert steps[0] == 0
    assert steps == sorted(steps)
    longest = max(seconds_of(step) for step in range(len(steps)))
    # The schedule comes to its end: the last step is made with what is left for one step.
    assert steps[-1] >= 1 - longest / 10 - 1e-9
    assert end - 1e-9 <= fake.now <= end + longest


def test_more_work_afterwards_ends_the_training_earlier(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 12, reserved=2)
    seconds = 0.0

    def slower(step: int) -> float:
        nonlocal seconds
        seconds += 0.1
        if seconds > 5:
            clock.reserve(4.0)
        return 0.1

    start = fake.now
    steps = simulate(clock, fake, slower)
    assert steps == sorted(steps)
    assert fake.now - start == pytest.approx(8, abs=0.11)


def test_a_resumed_training_goes_on_where_it_was(fake: FakeTime) -> None:
    # 4 of 10 s were used before; the deadline leaves 6 more.
    clock = TimeClock(deadline=fake.now + 6, reserved=0, used=4)
    assert clock.progress(0) == pytest.approx(0.4)
    assert clock.seconds_left(0, 1.0) == pytest.approx(6)
    fake.now += 6
    assert clock.progress(0) == pytest.approx(1)
    assert clock.seconds_left(0, 1.0) == 0


def test_what_comes_before_the_steps_is_not_in_the_schedule(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 12, reserved=2)
    fake.now += 4
    clock.begin(0.0)
    assert clock.progress(0) == 0
    fake.now += 3
    assert clock.progress(1) == pytest.approx(0.5)
    assert clock.seconds_left(1, 1.0) == pytest.approx(3)


def test_what_comes_before_the_steps_is_no_pause_in_them(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 60, reserved=0)
    assert clock.progress(0) == 0
    fake.now += 0.3
    clock.progress(0)  # A batch of features.
    fake.now += 30
    clock.begin(0.0)
    assert clock.progress(0) == 0 and clock.seconds_left(0, 1.0) == pytest.approx(29.7)


def test_a_resumed_training_knows_how_long_ago_its_first_step_was(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 6, reserved=0, used=10)
    clock.begin(4.0)
    assert clock.progress(7) == pytest.approx(0.4)


def test_steps_end_a_training_that_has_time_left(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 12, reserved=2, steps=4)
    fake.now += 1
    assert clock.progress(2) == pytest.approx(0.5)
    assert clock.seconds_left(2, 0.5) == pytest.approx(1)
    fake.now += 8
    assert clock.progress(2) == pytest.approx(0.9)
    assert clock.seconds_left(2, 5.0) == pytest.approx(1)
    assert clock.progress(4) == 1


@pytest.mark.parametrize("reserved", [5.0, 50.0])
def test_no_time_at_all_is_the_end(fake: FakeTime, reserved: float) -> None:
    clock = TimeClock(deadline=fake.now + 5, reserved=reserved)
    assert clock.progress(0) >= 1
    assert clock.seconds_left(0, 1.0) == 0


def test_a_pause_is_not_used_time(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 12, reserved=2)
    steps = simulate(clock, fake, lambda step: 3600.0 if step == 50 else 0.1)
    assert len(steps) == pytest.approx(101, abs=1)
    assert max(after - before for before, after in pairwise(steps)) < 0.02
    assert fake.now == pytest.approx(1000 + 10 + 3600, abs=0.3)


def test_steps_that_are_always_long_are_no_pauses(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 120, reserved=20)
    fake.now += 0.001
    assert len(simulate(clock, fake, lambda step: 25.0)) == 4
    assert clock.paused == 0


def test_steps_that_become_long_are_no_pauses_but_for_the_first(fake: FakeTime) -> None:
    clock = TimeClock(deadline=fake.now + 120, reserved=20)
    steps = simulate(clock, fake, lambda step: 0.1 if step < 10 else 25.0)
    assert len(steps) == 10 + 5 and clock.paused == pytest.approx(25)
