from __future__ import annotations

import pytest

from rung.ladder.allocation import has_come_to_its_end, next_seed, run_seconds
from rung.runs import Epoch


def row(step: int, val: float, train: float = 0.5) -> Epoch:
    return Epoch(1.0, step, 1.0, 1e-3, 1.0, train, 1.0, val, 1.0)


def test_the_length_leaves_time_for_three_more_runs() -> None:
    assert run_seconds(60.0, [1.0] * 9) == pytest.approx((60 - 12) / 12)
    assert run_seconds(5.0, [1.0] * 9) < 0


def test_seeds_go_where_they_cost_least_up_to_three_then_on() -> None:
    order, costs = ["a", "b", "c"], {"a": 30.0, "b": 10.0, "c": 30.2}
    counts = {"a": 1, "b": 1, "c": 1}
    given = []
    left = 200.0
    while (name := next_seed(order, counts, costs, left)) is not None:
        given.append(name)
        counts[name] += 1
        left -= costs[name]
    assert given[:6] == ["b", "b", "a", "a", "c", "c"]
    assert given[6:] == ["b", "b", "a"]
    assert left < min(costs.values()) or given[-1] == "a"
    assert next_seed(order, counts, costs, 5.0) is None


def test_what_does_not_fit_is_not_started() -> None:
    assert next_seed(["a", "b"], {"a": 1, "b": 1}, {"a": 10.0, "b": 50.0}, 20.0) == "a"
    assert next_seed(["a", "b"], {"a": 3, "b": 1}, {"a": 10.0, "b": 50.0}, 20.0) == "a"


def test_a_training_is_over_when_nothing_better_comes() -> None:
    improving = [row(step, step / 100) for step in range(10, 100, 10)]
    assert not has_come_to_its_end(improving)
    flat = [row(10, 0.5), *(row(step, 0.4) for step in range(20, 70, 10))]
    assert has_come_to_its_end(flat)
    assert not has_come_to_its_end(flat[:5])
    assert has_come_to_its_end([*improving, row(100, 1.0, train=0.999)])
