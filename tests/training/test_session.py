from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch

from rung.data.dataset import Dataset, Split
from rung.models.pretrained import PretrainedConfig
from rung.progress import SilentDisplay
from rung.runs import Epoch
from rung.training import rows, session, threads
from rung.training.clocks import StepClock, TimeClock
from rung.training.device import Machine
from rung.training.loop import TrainingState
from rung.training.recipe import Recipe
from rung.training.session import (
    DisplayObserver,
    new_state,
    plan_training,
    steps_per_epoch,
    total_steps,
    train,
)


class Listening(SilentDisplay):
    def __init__(self) -> None:
        self.steps: list[float] = []
        self.rows: list[Epoch] = []

    def step(self, fraction: float, epoch: float, *rest: float) -> None:
        self.steps.append(epoch)

    def epoch(self, row: Epoch) -> None:
        self.rows.append(row)


def test_from_data_to_weights(dataset: Dataset, machine: Machine, recipe: Recipe) -> None:
    assert plan_training(dataset, machine, seconds=None, epochs=2.0).epochs == 2
    state = new_state(recipe, dataset, torch.device("cpu"), 0)
    display = Listening()
    epochs = 2.0
    assert steps_per_epoch(dataset, recipe) == 7 and total_steps(dataset, recipe, epochs) == 14
    train(
        state,
        dataset,
        recipe,
        StepClock(14),
        epochs=epochs,
        seconds=None,
        seed=0,
        precision="float32",
        observer=DisplayObserver(display, 7),
    )
    assert state.step == 14
    assert display.rows == state.history
    assert display.steps[0] == pytest.approx(1 / 7)


def test_pauses_are_not_counted_as_training(dataset: Dataset, recipe: Recipe) -> None:
    state, clock = new_state(recipe, dataset, torch.device("cpu"), 0), StepClock(2)
    clock.paused = 1000.0
    given = {"epochs": 0.3, "seconds": None, "seed": 0, "precision": "float32", "observer": DisplayObserver()}
    train(state, dataset, recipe, clock, **given)
    assert -1000 < state.seconds < -900  # not one of them has been


def test_less_than_a_step_is_a_step(dataset: Dataset, recipe: Recipe) -> None:
    assert total_steps(dataset, recipe, 1e-6) == 1


def test_a_display_is_spared_most_steps(fresh: Callable[..., TrainingState]) -> None:
    display, state = Listening(), fresh()
    observer = DisplayObserver(display)
    for _ in range(1000):
        observer.step(state, 0.5, 1.0)
    assert len(display.steps) < 20


def test_the_schedule_of_a_fine_tuning_begins_with_its_first_step(
    dataset: Dataset, fresh: Callable[..., TrainingState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the head before it took, also where a resumed training has it behind it."""
    seen = []

    def start(state: TrainingState, *given: object, validation: Split, **named: object) -> None:
        seen.append(len(validation))
        time.sleep(1)
        state.seconds = 1.0
        state.history.append(Epoch(0.0, 0, 1.0, 0.0, 1.0, 0.3, 1.0, 0.3, math.nan))

    def fit(state: TrainingState, dataset: Dataset, recipe: Recipe, clock: TimeClock, **named: object) -> None:
        seen.append(clock.progress(0))

    monkeypatch.setattr(session, "start_from_features", start)
    monkeypatch.setattr(session, "fit", fit)
    monkeypatch.setattr(rows, "VALIDATION_LEAST", 5)
    recipe = Recipe(network=PretrainedConfig(side=32, learns="upper"), batch_size=10)
    state = fresh()
    given = {"epochs": 1.0, "seconds": 8.0, "seed": 0, "precision": "float32", "observer": DisplayObserver()}
    session.train(state, dataset, recipe, TimeClock(time.monotonic() + 8.0, 0.0), **given)
    # An eighth of the time is over, and nothing of the schedule but what a busy computer takes until the first step.
    assert seen[0] == 5 < len(dataset.val) and 0 <= seen[1] < 0.1
    state.seconds = 21.0
    session.train(state, dataset, recipe, TimeClock(time.monotonic() + 20, 0.0, used=21.0), **given)
    assert seen[2] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("seconds", "kept"), [(10.0, 1), (None, None)])
def test_a_crowd_before_the_first_step_takes_threads_from_timed_trainings_alone(
    seconds: float | None,
    kept: int | None,
    dataset: Dataset,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "SMALL_STEP", 0.0)
    monkeypatch.setattr(threads, "_felt", (-1e9, 0, 0))
    monkeypatch.setattr(threads, "pieces_per_second", lambda threads, seconds: 1 / threads)
    state = new_state(recipe, dataset, torch.device("cpu"), 0)
    used = []
    with threads.using_threads(2):
        train(
            state,
            dataset,
            recipe,
            StepClock(3),
            epochs=1.0,
            seconds=seconds,
            seed=0,
            precision="float32",
            observer=DisplayObserver(),
            stop=lambda: bool(used.append(torch.get_num_threads())),
        )
        assert torch.get_num_threads() == 2
    assert set(used) == {kept or 2} and state.crowded_threads == kept
