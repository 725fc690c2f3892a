from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.ladder import StagesConfig
from rung.training.checkpoint import load_checkpoint, save_checkpoint
from rung.training.clocks import StepClock
from rung.training.loop import TrainingState
from rung.training.recipe import Recipe
from rung.training.rungs import LADDER, in_rounds, rung_named, rung_recipe

PROBE = Probe(0.4, 0.4, 1000)
TRAINED = [rung.name for rung in LADDER if rung.add]


@pytest.fixture
def adam() -> Recipe:
    return Recipe(
        network=StagesConfig(stages=((4,), (8, 8)), dropout=0.3, norm=True, shortcuts=True),
        batch_size=16,
        optimizer="adam",
        adam_rate=0.01,
        rounds=(1.0, 0.1, 0.01),
        label_smoothing=0.0,
        views=1,
    )


def test_each_rung_changes_one_thing(dataset: Dataset) -> None:
    recipes = [rung_named(name).recipe(dataset, PROBE).to_dict() for name in TRAINED]
    for below, above in pairwise(recipes):
        changed = {name for name in below if below[name] != above[name]}
        assert changed in ({"network"}, {"network", "adam_rate"}, {"augmentation"}, {"rounds", "keep_best"})


@pytest.mark.parametrize("name", TRAINED)
def test_every_rung_comes_back_from_json_and_learns(
    name: str, dataset: Dataset, fresh: Callable[..., TrainingState], run_loop: Callable[..., object]
) -> None:
    recipe, reasons = rung_recipe(name, None, dataset, PROBE)
    assert recipe is not None and name in reasons[0]
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    state = fresh(recipe=recipe)
    run_loop(state, StepClock(60), recipe=recipe, steps_per_row=10)
    assert state.history[-1].val_accuracy > 0.6


def test_names_and_rounds() -> None:
    assert [rung.name for rung in LADDER][0::8] == ["naive", "modern"]
    assert rung_named("pretrained").add is None
    with pytest.raises(UsageError, match="there is no rung 'top'; the ladder has naive, deep"):
        rung_named("top")


def test_without_a_rung_the_planner_chooses(dataset: Dataset) -> None:
    assert rung_recipe(None, None, dataset, PROBE) == (None, ())
    assert rung_recipe("modern", None, dataset, PROBE)[0] is None
    with pytest.raises(UsageError, match="schedule of its own"):
        rung_recipe("modern", (1e-3,), dataset, PROBE)


def test_rounds_are_shares_of_the_largest_rate(dataset: Dataset) -> None:
    recipe, _ = rung_recipe(None, (1e-3, 1e-4, 1e-5), dataset, PROBE)
    assert recipe is not None and recipe.network == rung_named("annealed").recipe(dataset, PROBE).network
    assert recipe.adam_rate == 1e-3 and recipe.rounds == pytest.approx((1, 0.1, 0.01))
    assert in_rounds(rung_named("naive").recipe(dataset, PROBE), (1e-3,)).keep_best


# --- rounds in the loop ----------------------------------------------------------------------------


def test_rounds_show_in_the_history(
    adam: Recipe, fresh: Callable[..., TrainingState], run_loop: Callable[..., object]
) -> None:
    state = fresh(recipe=adam)
    run_loop(state, StepClock(30), recipe=adam, steps_per_row=5)
    rates = [row.learning_rate for row in state.history]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])
    assert [adam.round(place) for place in (0, 0.33, 0.34, 0.67, 1, 1.2)] == [0, 0, 1, 2, 2, 2]


def test_a_round_starts_from_the_best_weights(
    adam: Recipe, fresh: Callable[..., TrainingState], run_loop: Callable[..., object], watcher: type
) -> None:
    state = fresh(recipe=adam)
    seen: list[bool] = []

    class Spoiling(watcher):  # type: ignore[misc]
        def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
            super().step(state, progress, seconds_left)
            if state.step == 9:
                # Whatever becomes of the last weights of a round, the best of its rows are those that go on.
                state.best_accuracy = 2.0
                state.best = {name: torch.zeros_like(value) for name, value in state.best.items()}
            if state.step == 11:
                seen.append(max(float(p.detach().abs().max()) for p in state.model.network.parameters()) < 0.02)

    run_loop(state, StepClock(30), recipe=adam, steps_per_row=5, watcher=Spoiling())
    assert seen == [True]
    assert state.round == 2


@pytest.mark.parametrize("stopped", [7, 10, 15, 20, 25])
def test_a_stopped_training_ends_in_the_same_weights(
    stopped: int,
    adam: Recipe,
    fresh: Callable[..., TrainingState],
    run_loop: Callable[..., object],
    watcher: type,
    tmp_path: Path,
) -> None:
    whole = fresh(recipe=adam)
    run_loop(whole, StepClock(30), recipe=adam, steps_per_row=4)

    first = fresh(recipe=adam)
    watching = watcher(stop_after=stopped, on_stop=lambda state: save_checkpoint(tmp_path / "checkpoint", state))
    run_loop(first, StepClock(30), recipe=adam, steps_per_row=4, watcher=watching)
    second = fresh(recipe=adam)
    load_checkpoint(tmp_path / "checkpoint", second)
    run_loop(second, StepClock(30), recipe=adam, steps_per_row=4)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_the_last_weights_are_kept_where_the_best_are_not_wanted(
    adam: Recipe, fresh: Callable[..., TrainingState], run_loop: Callable[..., object]
) -> None:
    for keep, last in ((True, False), (False, True)):
        recipe = replace(adam, rounds=(1.0,), keep_best=keep)
        state = fresh(recipe=recipe)
        state.best_accuracy = 2.0
        state.best = {name: value.clone() for name, value in state.model.state_dict().items()}
        start = state.model.network[0].weight.clone()
        run_loop(state, StepClock(10), recipe=recipe)
        assert torch.equal(state.model.network[0].weight, start) != last
