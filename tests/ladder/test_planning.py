from __future__ import annotations

from collections.abc import Callable

import pytest

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.ladder.planning import Planning
from rung.ladder.steps import Step, down_steps, ladder_steps
from rung.training.device import Machine
from rung.training.recipe import Recipe

PROBE = Probe(0.4, 0.4, 1000)


@pytest.fixture
def planning(make_dataset: Callable[..., Dataset]) -> Planning:
    return Planning(make_dataset(60, 3), PROBE, Machine("cpu", "a test", 1, "float32", 10.0), 0, 5.0)


@pytest.fixture
def steps(planning: Planning) -> list[Step]:
    return ladder_steps(planning.dataset, planning.probe)[:3]


def test_a_length_for_all(planning: Planning, steps: list[Step]) -> None:
    planning.choose_length(steps, 600.0, equal_epochs=False)
    assert 60 < planning.length < 100 and planning.epochs == 0
    plan = planning.plan(steps[0])
    assert plan.budget == plan.expected_seconds["training"] == planning.length
    assert plan.expected_accuracy is None and plan.steps >= 1
    assert planning.plan(steps[0], longest=30.0).budget == 30.0
    assert planning.plan(steps[0], longest=-5.0).budget == pytest.approx(0.1 * planning.length)


def test_epochs_for_all(planning: Planning, steps: list[Step]) -> None:
    planning.choose_length(steps, 60.0, equal_epochs=True)
    plans = [planning.plan(step) for step in steps]
    assert {plan.epochs for plan in plans} == {planning.epochs} and plans[0].budget is None
    assert sum(plan.expected_seconds["training"] for plan in plans) == pytest.approx(0.9 * 3 * planning.length)


def test_too_little_time_is_one_sentence(planning: Planning, steps: list[Step]) -> None:
    with pytest.raises(UsageError, match=r"there are 0\.5 s left for 3 models, .* give a larger --budget"):
        planning.choose_length(steps, 0.5, equal_epochs=False)


def test_further_seeds_take_the_recipe_of_the_first(planning: Planning, steps: list[Step]) -> None:
    known = Recipe(network=steps[1].recipe.network, batch_size=7)  # type: ignore[union-attr]
    planning.known = lambda name: known if name == "naive" else None
    assert planning.plan(steps[0]).recipe == known
    assert planning.plan(steps[1]).recipe == steps[1].recipe


def test_what_is_not_there_cannot_be_taken_away(planning: Planning) -> None:
    top, *without = down_steps()
    assert planning.possible(top)
    possible = {step.name: planning.possible(step) for step in without}
    recipe = planning.plan(top).recipe
    assert possible["no mirroring"] == recipe.augmentation.flip
    assert possible["no views"] == (recipe.views > 1)
    assert possible["no Muon"] and planning.plan(without[3]).recipe.optimizer == "adam"
