from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.diagnosis import Finding, Remedy
from rung.ladder.results import Difference, StepResult
from rung.ladder.steps import down_steps, first_step, ladder_steps, next_step
from rung.ladder.words import problem_of, verdict
from rung.models.fast import FastConfig
from rung.training.ablations import ABLATIONS
from rung.training.measure import count
from rung.training.recipe import Recipe

PROBE = Probe(0.4, 0.4, 1000)


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(60, 3, size=(12, 12))


def finding(kind: str) -> Finding:
    return Finding(kind, "warning", f"There is {kind}.", Remedy("Do something."))


def test_the_ladder_goes_up_one_by_one(dataset: Dataset) -> None:
    steps = ladder_steps(dataset, PROBE)
    assert [step.below for step in steps] == [None, *(step.name for step in steps[:-1])]
    assert [step.recipe is None for step in steps] == [False] * 8 + [True, True]
    assert [step.name for step in steps[-2:]] == ["modern", "pretrained"]


def test_every_ablation_changes_the_recipe_and_still_makes_a_network() -> None:
    top = Recipe(network=FastConfig(stages=((8, 8), (8, 8))), augmentation=Augmentation(), views=2, pruning=0.3)
    for ablation in ABLATIONS:
        less = ablation.remove(top)
        assert less is not None and less != top, ablation.name
        assert Recipe.from_dict(less.to_dict()) == less
        assert count(less.network, (16, 16), 3, 4).parameters > 0
    plain = Recipe(network=FastConfig(), augmentation=Augmentation(False, 0), views=1)
    impossible = [ablation.name for ablation in ABLATIONS if ablation.remove(plain) is None]
    assert impossible == ["no mirroring", "no shifts", "no pruning", "no views"]
    assert {step.below for step in down_steps()[1:]} == {"modern"}


def test_the_worst_finding_picks_the_next_idea(dataset: Dataset) -> None:
    first = first_step(dataset, PROBE)
    step = next_step(first, ["naive"], ["naive"], [finding("overfitting")], dataset, PROBE)
    assert step is not None and step.name == "deep" and step.below == "naive"
    # What an idea stands on must be there.
    kept = ["naive", "deep", "pooled"]
    step = next_step(first, kept, kept, [finding("underfitting"), finding("overfitting")], dataset, PROBE)
    assert step is not None and step.name == "batchnorm" and step.recipe is not None
    step = next_step(first, kept, [*kept, "dropout"], [finding("overfitting")], dataset, PROBE)
    assert step is not None and step.name == "augmented"


def test_without_a_finding_the_lowest_untried_idea_is_next(dataset: Dataset) -> None:
    first = first_step(dataset, PROBE)
    step = next_step(first, ["naive"], ["naive", "deep"], [], dataset, PROBE)
    assert step is not None and step.name == "augmented"
    names = ["naive", "deep", "pooled", "dropout", "batchnorm", "augmented", "annealed", "residual"]
    step = next_step(first, names, names, [], dataset, PROBE)
    assert step is not None and step.name == "modern" and step.recipe is None
    assert next_step(first, names, [*names, "modern"], [], dataset, PROBE) is None


# --- in words --------------------------------------------------------------------------------------


def result(train: float, val: float) -> StepResult:
    where = {"train_accuracy": train, "val_accuracy": val, "val_interval": (val, val), "gap": train - val}
    left = {field.name: None for field in fields(StepResult) if field.name not in where}
    return StepResult(**{**left, **where, "name": "deep"})


def difference(difference: float, low: float, high: float, sure: bool, seeds: bool = True) -> Difference:
    return Difference(
        difference, low, high, 0.01 if sure else 0.2, "images and seeds" if seeds else "images", distinguishable=sure
    )


def test_verdicts_say_whether_it_helped() -> None:
    assert verdict("", difference(0.032, 0.015, 0.049, True)).startswith("It helped here: 3.2 points more")
    assert "did not measurably help" in verdict("", difference(0.003, -0.01, 0.016, False))
    assert "It did not help here: it cost 2.0 points" in verdict("", difference(-0.02, -0.03, -0.01, True))
    assert "Without it the accuracy falls by 2.0" in verdict("", difference(-0.02, -0.03, -0.01, True), True)
    assert "no more than chance" in verdict("", difference(-0.01, -0.03, 0.01, False), True)
    assert verdict("", None) == "The start."


def test_verdicts_claim_no_more_than_their_intervals() -> None:
    assert "of these two networks" in verdict("", difference(0.03, 0.01, 0.05, True, seeds=False))
    assert "two networks" not in verdict("", difference(0.03, 0.01, 0.05, True))
    said = verdict("", difference(0.03, 0.01, 0.05, False))
    assert "did not measurably help" in said and "chance among so many comparisons (adjusted p = 0.20)" in said


def test_the_problem_is_the_first_finding_or_what_the_accuracies_say() -> None:
    found = [finding("overfitting").to_dict()]
    assert problem_of(result(0.9, 0.6), found) == "deep: There is overfitting."
    two = [finding("dead_units").to_dict(), *found, finding("stopped_too_early").to_dict()]
    assert problem_of(result(0.9, 0.6), two, ("overfitting",)) == "deep: There is overfitting."
    assert problem_of(result(0.9, 0.6), two, ()) == "deep: There is dead_units."
    assert "has not learnt enough" in problem_of(result(0.6, 0.6), two[2:])
    assert "knows images rather than classes" in problem_of(result(0.9, 0.6), [])
    assert "has not learnt enough" in problem_of(result(0.6, 0.6), [])
    assert "no clear problem" in problem_of(result(0.99, 0.98), [])


def test_the_public_name_stays_a_function() -> None:
    import rung
    from rung.ladder import climb

    assert rung.climb is climb and rung.climb is climb
