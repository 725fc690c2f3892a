from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rung.data.dataset import Dataset
from rung.models.classifier import predict
from rung.training import loop
from rung.training.checkpoint import load_checkpoint, save_checkpoint
from rung.training.clocks import StepClock, TimeClock
from rung.training.loop import TrainingState
from rung.training.recipe import Recipe
from rung.training.step import Outcome, Step, soft_targets

Fresh = Callable[..., TrainingState]
Run = Callable[..., Any]


def weights(state: TrainingState) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def accuracy(state: TrainingState, dataset: Dataset) -> float:
    return float((predict(state.model, dataset.val).argmax(1) == dataset.val.labels).mean())


def test_it_learns(fresh: Fresh, run_loop: Run, dataset: Dataset) -> None:
    state = fresh()
    before = accuracy(state, dataset)
    run_loop(state, StepClock(60))
    assert before < 0.7
    assert accuracy(state, dataset) > 0.9
    assert state.history[-1].train_loss < state.history[0].train_loss


# --- the same again ------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(fresh: Fresh, run_loop: Run, precision: str) -> None:
    results = []
    for _ in range(2):
        state = fresh()
        run_loop(state, precision=precision)
        results.append(weights(state))
    assert same(*results)


def test_figures_that_are_read_together_are_the_same(
    fresh: Fresh, run_loop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU's are, which would have to wait for each."""
    ends = []
    monkeypatch.setattr(loop, "READ_SECONDS", 100.0)
    for together in (1, 16):
        monkeypatch.setitem(loop.READ_TOGETHER, "cpu", together)
        state = fresh()
        run_loop(state, StepClock(90), steps_per_row=40)
        ends.append((weights(state), state.history, state.watcher.recordings().retreats))
    assert same(ends[0][0], ends[1][0]) and not len(ends[1][2])
    for one, other in zip(ends[0][1], ends[1][1], strict=True):
        assert (one.train_loss, one.train_accuracy, one.step) == (other.train_loss, other.train_accuracy, other.step)


@pytest.mark.parametrize("lost", [4, 12, 42, 43], ids=["early", "before a change of rounds", "before a row", "last"])
def test_a_loss_that_is_read_late_is_not_missed(
    lost: int, fresh: Fresh, run_loop: Run, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "READ_SECONDS", 100.0)
    monkeypatch.setitem(loop.READ_TOGETHER, "cpu", 16)
    monkeypatch.setattr(loop, "step_for", lambda device: lambda *given, **named: Broken(Step(*given, **named), lost))
    rounds = replace(recipe, optimizer="adam", rounds=(1.0, 0.1, 0.01))
    state = fresh(recipe=rounds)
    run_loop(state, StepClock(44), recipe=rounds, steps_per_row=43)
    assert state.rate_scale == 0.5 and len(state.watcher.recordings().retreats) == 1
    assert state.is_finite() and all(math.isfinite(row.train_loss) for row in state.history)


class Broken:
    """A step whose loss is not a number, once."""

    def __init__(self, step: Step, lost: int) -> None:
        self._step, self._lost = step, lost

    def __call__(self, number: int, share: float) -> Outcome:
        outcome = self._step(number, share)
        return outcome._replace(loss=outcome.loss * math.nan) if number == self._lost else outcome


def test_another_seed_gives_other_weights(fresh: Fresh, run_loop: Run) -> None:
    results = []
    for seed in (3, 4):
        state = fresh()
        run_loop(state, seed=seed)
        results.append(weights(state))
    assert not same(*results)


@pytest.mark.parametrize("stop_after", [1, 5, 7, 13, 20])
def test_a_resumed_training_gives_the_same_weights_bit_for_bit(
    fresh: Fresh, run_loop: Run, watcher: type, tmp_path: Path, stop_after: int
) -> None:
    whole = fresh()
    run_loop(whole)
    first = fresh()
    run_loop(first, watcher=watcher(stop_after, lambda state: save_checkpoint(tmp_path, state)))
    assert first.step == stop_after
    second = fresh(seed=99)  # Nothing of a fresh state may shine through.
    load_checkpoint(tmp_path, second)
    assert second.step == stop_after
    run_loop(second)
    assert second.step == whole.step == 21
    assert same(weights(second), weights(whole))
    assert [row.step for row in second.history] == [row.step for row in whole.history]
    for name in ("train_loss", "train_accuracy", "val_loss"):
        assert [getattr(row, name) for row in second.history] == [getattr(row, name) for row in whole.history]


# --- which weights remain ------------------------------------------------------------------------


def test_the_best_weights_remain(fresh: Fresh, run_loop: Run, dataset: Dataset) -> None:
    state = fresh()
    run_loop(state, StepClock(40))
    best = max(row.val_accuracy for row in state.history)
    assert state.best_accuracy == pytest.approx(best)
    assert accuracy(state, dataset) == pytest.approx(best)


def test_of_equally_good_weights_the_latest_are_kept(fresh: Fresh) -> None:
    state = fresh()
    state.keep_if_best(0.5)
    with torch.no_grad():
        state.model.network.head.weight.add_(1)
    state.keep_if_best(0.5)
    kept = state.best["network.head.weight"].clone()
    with torch.no_grad():
        state.model.network.head.weight.add_(1)
    state.keep_if_best(0.4)
    assert torch.equal(state.best["network.head.weight"], kept)
    assert torch.equal(kept + 1, state.model.network.head.weight)


@pytest.mark.parametrize(("best", "kept"), [(0.62, "last"), (0.75, "first")])
def test_an_earlier_row_must_be_clearly_better_than_the_end(
    fresh: Fresh, run_loop: Run, watcher: type, best: float, kept: str
) -> None:
    found: dict[str, dict[str, torch.Tensor]] = {}

    class Claiming(watcher):  # type: ignore[misc, valid-type]
        """Says that 40 validation images gave 60 % at the end and ``best`` after the first row."""

        def row(self, state: TrainingState) -> None:
            found.setdefault("first", weights(state))
            found["last"] = weights(state)
            state.history[-1] = replace(state.history[-1], val_accuracy=0.6)
            state.best, state.best_accuracy = found["first"], best

    state = fresh()
    run_loop(state, StepClock(20), watcher=Claiming())
    assert not same(found["first"], found["last"])
    assert same(weights(state), found[kept])


# --- how long ------------------------------------------------------------------------------------


def test_rows_come_at_their_steps_and_the_rate_falls_to_its_end(fresh: Fresh, run_loop: Run, recipe: Recipe) -> None:
    state = fresh()
    seen = run_loop(state, StepClock(20), steps_per_row=5)
    assert [row.step for row in state.history] == [5, 10, 15, 20]
    assert seen.rows == 4 and seen.steps == 20
    assert [row.epoch for row in state.history] == [step / 7 for step in (5, 10, 15, 20)]
    rates = [row.learning_rate for row in state.history]
    assert rates == pytest.approx([recipe.rate((step - 1) / 20) for step in (5, 10, 15, 20)])
    seconds = [row.seconds for row in state.history]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_what_is_left_over_gets_a_row_if_it_is_enough(fresh: Fresh, run_loop: Run) -> None:
    state = fresh()
    run_loop(state, StepClock(13), steps_per_row=10)
    assert [row.step for row in state.history] == [10, 13]
    state = fresh()
    run_loop(state, StepClock(11), steps_per_row=10)
    assert [row.step for row in state.history] == [10]


def test_without_any_time_one_step_is_made(fresh: Fresh, run_loop: Run) -> None:
    state = fresh()
    run_loop(state, TimeClock(deadline=0.0, reserved=0.0))
    assert state.step == 1
    assert len(state.history) == 1


def test_stopped_before_the_first_step_there_is_still_something_to_evaluate(
    fresh: Fresh, run_loop: Run, watcher: type
) -> None:
    state = fresh()
    stopped = watcher(0)
    stopped._state = state
    run_loop(state, watcher=stopped)
    assert state.step == 0
    assert len(state.history) == 1 and math.isfinite(state.history[0].val_accuracy)
    assert state.best


# --- when it goes wrong --------------------------------------------------------------------------


def test_a_loss_that_is_not_a_number_halves_the_rates_and_goes_on(
    fresh: Fresh, run_loop: Run, recipe: Recipe, dataset: Dataset
) -> None:
    wild = replace(recipe, head_rate=1e38, weight_decay=0.0)
    state = fresh(recipe=wild)
    run_loop(state, StepClock(20), recipe=wild)
    assert state.rate_scale < 1
    assert state.step == 20
    assert all(value.isfinite().all() for value in state.model.state_dict().values())
    assert torch.from_numpy(predict(state.model, dataset.val)).isfinite().all()


def test_soft_targets() -> None:
    targets = soft_targets(torch.tensor([2, 0]), 4, 0.2)
    assert torch.allclose(targets, torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]]))
    assert torch.equal(soft_targets(torch.tensor([1]), 3, 0.0), torch.tensor([[0.0, 1.0, 0.0]]))
