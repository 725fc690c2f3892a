from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch

from rung.errors import UsageError
from rung.training import threads
from rung.training.threads import (
    avoiding_crowd,
    pieces_per_second,
    set_threads,
    uncrowded_threads,
    using_threads,
    worthwhile_threads,
)

NOTHING = (-1e9, 0, 0)


@pytest.fixture(autouse=True)
def threads_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "_felt", NOTHING)
    with using_threads(None):
        yield


def test_threads() -> None:
    assert set_threads(1) == 1 == torch.get_num_threads()
    with pytest.raises(UsageError, match="at least 1, not 0"):
        set_threads(0)
    assert set_threads(None) >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs CPU affinity")
def test_no_more_threads_than_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert set_threads(None) == 1


def test_small_steps_use_one_thread_and_give_the_others_back() -> None:
    set_threads(2)
    with worthwhile_threads(multiply_adds=200_000, batch_size=64):
        assert torch.get_num_threads() == 1
    with worthwhile_threads(multiply_adds=7_000_000, batch_size=250):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


RATES = {
    "nobody else": ({1: 100, 3: 240, 7: 500, 8: 550}, 8),
    "one core is taken": ({1: 100, 4: 160, 7: 480, 8: 15}, 7),
    "most are": ({1: 100, 4: 160, 7: 12, 8: 15}, 4),
    "all are": ({1: 50, 4: 5, 7: 5, 8: 5}, 1),
    "slow, but for another reason than a crowd": ({1: 100, 4: 300, 7: 300, 8: 120}, 8),
}


@pytest.mark.parametrize("who", RATES)
def test_fewer_threads_in_a_crowd(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, best = RATES[who]
    monkeypatch.setattr(threads, "pieces_per_second", lambda threads, seconds: rates[threads])
    set_threads(8)
    assert uncrowded_threads() == best
    with avoiding_crowd():
        assert torch.get_num_threads() == best
    with avoiding_crowd(False):
        assert torch.get_num_threads() == 8
    assert torch.get_num_threads() == 8


def test_one_thread_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "pieces_per_second", None)
    set_threads(1)
    assert uncrowded_threads() == 1


def test_pieces_are_done_by_so_many_threads_and_those_of_before_are_left() -> None:
    set_threads(2)
    assert pieces_per_second(1, 0.01) > 1
    assert torch.get_num_threads() == 2


def test_a_single_slow_moment_is_no_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rate(threads: int, seconds: float) -> float:
        asked.append(threads)
        return 100.0 if threads == 1 else 10.0 if len(asked) == 1 else 190.0

    monkeypatch.setattr(threads, "pieces_per_second", rate)
    set_threads(2)
    assert uncrowded_threads() == 2
    assert asked == [2, 1, 2, 1]


def test_a_crowd_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {1: 100.0, 2: 10.0}
    monkeypatch.setattr(threads, "pieces_per_second", lambda threads, seconds: rates[threads])
    set_threads(2)
    assert uncrowded_threads() == 1
    rates[2] = 190.0
    assert uncrowded_threads() == 1
    when, *crowd = threads._felt
    monkeypatch.setattr(threads, "_felt", (when - threads.REMEMBERED, *crowd))
    assert uncrowded_threads() == 2
