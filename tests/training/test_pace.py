from __future__ import annotations

from collections.abc import Callable

import pytest

from rung.training import pace as module
from rung.training.pace import PATIENCE, WINDOW, Pace


class Computer:
    """Stands for the modules ``time`` and ``torch``: a clock, and threads whose steps take what ``seconds`` says."""

    def __init__(self, threads: int, seconds: Callable[[int, float], float]) -> None:
        self.threads, self.now, self._seconds = threads, 0.0, seconds

    def monotonic(self) -> float:
        return self.now

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        assert threads >= 1
        self.threads = threads

    def run(self, steps: int, first: int | None = None) -> list[int]:
        """The threads of each step."""
        pace, used = Pace(first), []
        for _ in range(steps):
            used.append(self.threads)
            self.now += self._seconds(self.threads, self.now)
            pace.stepped()
        return used


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Computer]:
    def make(threads: int, seconds: Callable[[int, float], float]) -> Computer:
        made = Computer(threads, seconds)
        monkeypatch.setattr(module, "time", made)
        monkeypatch.setattr(module, "torch", made)
        return made

    return make


def crowded(threads: int, now: float) -> float:
    """Two cores, one of which another program has between 10 and 60 seconds."""
    if 10 < now < 60 and threads == 2:
        return 0.4
    return 0.1 if threads == 2 else 0.19


def test_a_quiet_computer_keeps_its_threads(computer: Callable[..., Computer]) -> None:
    assert set(computer(2, lambda threads, now: 0.1 + 0.04 * (now % 1)).run(1000)) == {2}


def test_a_thread_less_while_another_program_has_a_core(computer: Callable[..., Computer]) -> None:
    made = computer(2, crowded)
    used, ends = [], []
    pace = Pace()
    while made.now < 90:
        used.append(made.threads)
        made.now += crowded(made.threads, made.now)
        ends.append(made.now)
        pace.stepped()
    crowd = [threads for threads, end in zip(used, ends, strict=True) if 15 < end < 60]
    assert crowd.count(1) > 0.8 * len(crowd)
    after = [threads for threads, end in zip(used, ends, strict=True) if end > 80]
    assert set(after) == {2}


def test_slow_for_another_reason_is_given_back(computer: Callable[..., Computer]) -> None:
    # A computer that has become hot: a thread less makes it slower still.
    used = computer(4, lambda threads, now: (0.1 if now < 5 else 0.2) * 4 / threads).run(2000)
    assert used.count(4) > 0.85 * len(used)
    assert min(used) == 3


def test_one_thread_stays_one(computer: Callable[..., Computer]) -> None:
    assert set(computer(1, lambda threads, now: 0.1 if now < 2 else 1.0).run(10 * WINDOW)) == {1}


def test_a_slow_step_now_and_then_is_no_crowd(computer: Callable[..., Computer]) -> None:
    steps = iter(range(10**6))
    assert set(computer(2, lambda threads, now: 2.0 if next(steps) % 5 == 0 else 0.1).run(500)) == {2}


def test_a_crawl_is_noticed_within_a_few_steps_and_trials_cost_little(computer: Callable[..., Computer]) -> None:
    # Where a step is hundreds of short parallel parts, each waits for a core that another program has.
    def crawling(threads: int, now: float) -> float:
        return 1.0 if threads == 2 and now > 10 else 0.05 if threads == 2 else 0.1

    made = computer(2, crawling)
    pace, crowd, alone = Pace(), 0.0, 0.0
    while made.now < 70:
        seconds = crawling(made.threads, made.now)
        crowd += seconds if seconds == 1.0 else 0.0
        alone += seconds if seconds == 0.1 else 0.0
        made.now += seconds
        pace.stepped()
    assert pace.is_crowded
    assert crowd < 12
    assert alone > 48


def test_where_it_was_crowded_from_the_beginning_the_thread_comes_back_when_the_crowd_has_gone(
    computer: Callable[..., Computer],
) -> None:
    made = computer(2, lambda threads, now: 0.1 if threads == 1 else 3.0 if now < 60 else 0.05)
    used = made.run(1500, first=1)
    assert set(used[:PATIENCE]) == {1}
    assert used[:600].count(2) < 10
    assert set(used[-200:]) == {2}
