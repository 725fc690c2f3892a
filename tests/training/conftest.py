"""A training in miniature: three easy classes, a network of a few hundred weights, one thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.models.fast import FastConfig
from rung.training.clocks import Clock, StepClock
from rung.training.device import Machine
from rung.training.loop import TrainingState, fit
from rung.training.recipe import Recipe
from rung.training.session import new_state

SEED = 3


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(120, 3, noise=40.0)


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        network=FastConfig(stages=((8,), (8,)), stem_filters=4),
        batch_size=16,
        augmentation=Augmentation(flip=True, translate=1),
        views=1,
    )


@pytest.fixture
def machine() -> Machine:
    return Machine("cpu", "a test", 1, "float32", 10.0)


@pytest.fixture
def fresh(recipe: Recipe, dataset: Dataset) -> Callable[..., TrainingState]:
    """A training before its first step."""

    def make(seed: int = SEED, recipe: Recipe = recipe) -> TrainingState:
        return new_state(recipe, dataset, torch.device("cpu"), seed)

    return make


class Watcher:
    """An observer that counts, and can ask to stop after some steps."""

    def __init__(self, stop_after: int | None = None, on_stop: Callable[[TrainingState], None] | None = None) -> None:
        self.steps = 0
        self.rows = 0
        self.progress: list[float] = []
        self._stop_after = stop_after
        self._on_stop = on_stop
        self._state: TrainingState | None = None

    def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
        self.steps += 1
        self.progress.append(progress)
        self._state = state
        if self.asks_to_stop() and self._on_stop:
            self._on_stop(state)

    def row(self, state: TrainingState) -> None:
        self.rows += 1

    def asks_to_stop(self) -> bool:
        return self._stop_after is not None and self._state is not None and self._state.step >= self._stop_after


@pytest.fixture
def watcher() -> type[Watcher]:
    return Watcher


@pytest.fixture
def run_loop(dataset: Dataset, recipe: Recipe) -> Callable[..., Watcher]:
    """Runs the loop on a state and returns who watched."""

    def run(
        state: TrainingState,
        clock: Clock | None = None,
        *,
        seed: int = SEED,
        recipe: Recipe = recipe,
        steps_per_row: int = 5,
        watcher: Watcher | None = None,
        precision: str = "float32",
    ) -> Watcher:
        watcher = watcher or Watcher()
        fit(
            state,
            dataset,
            recipe,
            clock or StepClock(21),
            seed=seed,
            precision=precision,
            steps_per_row=steps_per_row,
            validation=dataset.val,
            observer=watcher,
            stop=watcher.asks_to_stop,
        )
        return watcher

    return run
