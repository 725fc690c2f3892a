"""Whether a training starts from a pretrained network, and how."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rung.data.dataset import Dataset, Split
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.pretrained import PretrainedConfig
from rung.training import choosing, ways
from rung.training import plan_pretrained as planning
from rung.training.adjustments import Adjustments
from rung.training.device import Machine
from rung.training.measure import Cost, NetworkSize
from rung.training.plan import choose_augmentation
from rung.training.recipe import Recipe
from rung.training.ways import Table

MACHINE = Machine("cpu", "a processor", 2, "float32", 100.0)
SAFE = Probe(0.3, 0.3, 100)


def _dataset(images: int, side: int = 32, channels: int = 3, test: int = 100) -> Dataset:
    pixels = np.zeros((1, side, side, channels), np.uint8)

    def split(name: str, count: int) -> Split:
        return Split(name, pixels, np.zeros(count, np.int64), np.arange(count) % 10)

    return Dataset(
        "some", "nowhere", tuple("abcdefghij"), split("train", images), split("val", 20), split("test", test), ""
    )


@pytest.fixture(autouse=True)
def _speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "is_installed", lambda: True)
    monkeypatch.setattr(choosing, "_forward_seconds", lambda dataset, machine, name, side: (side / 96) ** 2 / 1000)
    monkeypatch.setattr(choosing, "_scratch_error", lambda *given: 0.19)
    _steps_take(monkeypatch, {"upper": 4.1, "all": 6.3})


def _cost(step: float) -> Cost:
    return Cost(NetworkSize(1, 1, 1), step, step / 3, 1, 1)


def _steps_take(monkeypatch: pytest.MonkeyPatch, passes: dict[str, float]) -> list[PretrainedConfig]:
    """Trial steps take so many forward passes; the networks that were tried."""
    tried: list[PretrainedConfig] = []

    def measured(recipe, dataset, machine, seed, max_memory, forward):
        tried.append(recipe.network)
        step = passes[recipe.network.learns] * (0.4 + 0.6 * (recipe.network.side / 96) ** 2) / 1000
        return _cost(step)

    monkeypatch.setattr(choosing, "measure_cost", measured)
    return tried


def _plan(dataset: Dataset, mode: str = "auto", seconds: float | None = 120.0, probe: Probe = SAFE, **given):
    return planning.plan_pretrained(dataset, probe, MACHINE, mode, seconds=seconds, **given)


def test_few_photographs_start_from_imagenet_at_the_size_that_fits() -> None:
    small, large = _plan(_dataset(100)), _plan(_dataset(100, test=10_000))
    assert isinstance(small.recipe.network, PretrainedConfig)
    assert (small.recipe.network.side, small.recipe.views, small.recipe.network.learns) == (160, 2, "head")
    # 10,000 test images at 160 pixels take 28 s a view here.
    assert large.recipe.network.side == 160
    assert sum(large.expected_seconds.values()) < 120
    hurried = _plan(_dataset(100, test=10_000), seconds=20.0)
    assert hurried.recipe.network.side < 160
    assert "knows 1.28 million photographs of ImageNet" in small.reasons[0]


def test_mirror_images_that_are_not_safe_are_not_averaged() -> None:
    plan = _plan(_dataset(100), probe=Probe(0.9, 0.1, 1000))
    assert plan.recipe.views == 1 and not plan.recipe.augmentation.flip


@pytest.mark.parametrize(
    ("dataset", "seconds"),
    [(_dataset(60_000), 20.0), (_dataset(100, channels=1), 120.0), (_dataset(100, side=8), 120.0)],
    ids=["many in a short time", "grey", "tiny"],
)
def test_other_data_starts_from_nothing_unless_asked(dataset: Dataset, seconds: float) -> None:
    assert _plan(dataset, seconds=seconds) is None
    assert _plan(_dataset(100, channels=1), "always").recipe.network.name == "pretrained"


def test_never_is_never_and_a_budget_without_time_for_it_is_for_scratch() -> None:
    assert _plan(_dataset(100), "never") is None
    assert _plan(_dataset(100, test=10_000), seconds=3.0) is None


def test_what_is_not_installed_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "is_installed", lambda: False)
    assert _plan(_dataset(100)) is None
    assert "pip install 'rung[pretrained]'" in planning.hint(_dataset(100), MACHINE, "auto", 30.0)
    assert planning.hint(_dataset(100), MACHINE, "never", 30.0) == ""
    many = _dataset(60_000, test=10_000)
    assert planning.hint(many, MACHINE, "auto", 30.0) == "" != planning.hint(many, MACHINE, "auto", 600.0)
    assert planning.hint(_dataset(100, channels=1), MACHINE, "auto", 600.0) == ""
    with pytest.raises(UsageError, match="are not installed"):
        _plan(_dataset(100), "always")


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="auto, never or always, not 'maybe'"):
        planning.check_pretrained("maybe")


def test_between_the_measured_numbers_the_error_is_between() -> None:
    table = Table.load()
    first, second = table.images[:2]
    assert table.at(table.head, first) == pytest.approx(table.head[0])
    assert table.head[0] > table.at(table.head, (first + second) // 2) > table.head[1]
    assert table.at(table.head, 1) == pytest.approx(table.head[0])
    assert table.at(table.head, 10**9) == pytest.approx(table.head[-1])


def _without_trials(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Plans of recipes are made without trying them; what was asked of the last one."""
    asked: dict[str, object] = {}

    def recorded(recipe, dataset, machine, **given):
        asked.update(given)
        plan = _plan(_dataset(100), "always", learns="head")
        return replace(plan, recipe=recipe, expected_accuracy=None, expected_accuracy_interval=None)

    monkeypatch.setattr(planning, "plan_recipe", recorded)
    return asked


def test_the_more_images_and_time_the_more_of_the_network_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _without_trials(monkeypatch)
    cases = ((90, 300.0), (60_000, 120.0), (60_000, 50_000.0))
    learning = [_plan(_dataset(images), seconds=seconds).recipe.network.learns for images, seconds in cases]
    assert learning == ["head", "upper", "all"]
    assert asked["seconds"] < 50_000 and asked["evaluation"] > 0


def test_steps_are_measured_before_they_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _without_trials(monkeypatch)
    tried = _steps_take(monkeypatch, {"upper": 2.0, "all": 100.0})
    plan = _plan(_dataset(2000), seconds=60.0)
    assert plan.recipe.network.learns == "upper"
    assert plan.recipe.network in tried and asked["known"].step > 0
    assert len(tried) == len(set(tried)) <= choosing.MOST_TRIALS


def test_where_no_more_may_be_tried_a_measured_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    monkeypatch.setattr(choosing, "FEW_TRIALS", 1)
    tried = _steps_take(monkeypatch, {"upper": 30.0, "all": 60.0})
    plan = _plan(_dataset(2000), "always", seconds=50.0)
    assert len(tried) == 1
    assert plan.recipe.network.learns == "head" or plan.recipe.network == tried[0]
    assert plan.recipe.network.side in (ways.TRIAL_SIDE, tried[0].side)


def test_quick_steps_are_worth_more_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    sides = []
    for passes in (20.0, 1.0):
        _steps_take(monkeypatch, {"upper": passes, "all": 2 * passes})
        sides.append(_plan(_dataset(60_000), "always", learns="upper", seconds=90.0).recipe.network.side)
    assert sides[0] < sides[1]


def test_what_is_not_measured_is_expected_from_what_is() -> None:
    costs = ways.WayCosts(_dataset(100), MACHINE, mirrored=True, folds=None)
    costs.forwards[96] = 0.001
    assert costs.each(192) == pytest.approx(0.004)
    guessed = costs.step("upper", 96)
    assert guessed == pytest.approx(ways.STEP_PASSES["float32"]["upper"] * 0.001)
    assert costs.step("upper", 64) > guessed / (96 / 64) ** 2
    costs.steps["upper", 96] = _cost(3 * guessed)
    assert costs.step("upper", 96) == 3 * guessed
    ratio = ways.STEP_PASSES["float32"]["all"] / ways.STEP_PASSES["float32"]["upper"]
    assert costs.step("all", 96) == pytest.approx(3 * guessed * ratio)


def test_few_images_are_not_learnt_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(recipe, dataset, machine, **given):
        plan = replace(_plan(_dataset(100), "always", learns="head"), recipe=recipe)
        training = given["seconds"] or 80.0
        seconds = {"start": 1.0, "training": training, "evaluation": 5.0, "report": 0.5}
        return replace(plan, epochs=training / 2, steps=int(training), expected_seconds=seconds)

    monkeypatch.setattr(planning, "plan_recipe", tried)
    short, long = (_plan(_dataset(90), "always", learns="upper", seconds=seconds) for seconds in (20.0, 600.0))
    assert short.epochs < ways.MOST_EPOCHS and short.budget == 20.0
    assert long.epochs == ways.MOST_EPOCHS and 23 <= long.steps <= 24
    assert long.ends_early and not short.ends_early
    assert long.budget == sum(long.expected_seconds.values()) < 60
    assert "ends early" in long.reasons[-2] and "ends early" not in str(short.reasons)
    assert _plan(_dataset(90), "always", learns="upper", seconds=None, epochs=40.0).budget is None


def test_steps_that_are_slower_than_expected_leave_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    learnt = []
    for passes in (4.0, 100.0):
        _steps_take(monkeypatch, {"upper": passes, "all": passes})
        learnt += [_plan(_dataset(450), mode, seconds=40.0).recipe.network.learns for mode in ("auto", "always")]
    assert learnt == ["upper", "upper", "head", "head"]
    assert _plan(_dataset(450), "always", learns="upper", seconds=40.0).recipe.network.learns == "upper"


def test_what_was_asked_for_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    assert _plan(_dataset(2000), "always", learns="head").recipe.network.learns == "head"
    assert _plan(_dataset(90), "always", learns="upper").recipe.network.learns == "upper"
    assert _plan(_dataset(90), "always", epochs=3.0, seconds=None).recipe.network.learns == "all"
    assert _plan(_dataset(60_000), "always", learns="all", seconds=6.0).recipe.network.side == 64


def test_changes_of_the_recipe_are_for_fine_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    plan = _plan(_dataset(90), adjustments=Adjustments(rate_scale=0.5, batch_size=9, augment="strong"))
    assert plan.recipe.network.learns != "head"
    assert (plan.recipe.adam_rate, plan.recipe.batch_size) == (0.0005, 9)
    assert plan.recipe.augmentation.cutout == 8


def test_folds_judge_heads_and_so_the_head_alone_learns() -> None:
    plan = _plan(_dataset(2000), "always", seconds=300.0, folds=5)
    assert plan.recipe.network.learns == "head"
    assert (
        plan.expected_seconds["evaluation"]
        > _plan(_dataset(2000), "always", learns="head").expected_seconds["evaluation"]
    )


def test_the_error_falls_from_the_heads_to_the_tables_end() -> None:
    table = Table.load()
    images = table.images[2]
    beginning, much = table.tuned_error("all", images, 96, 1e-6), table.tuned_error("all", images, 96, 1e9)
    assert beginning == pytest.approx(table.head_error(images, 96), rel=1e-3)
    assert much == pytest.approx(table.head[2] * table.tuned["all"][96][2], rel=1e-3)
    assert beginning > table.tuned_error("all", images, 96, 2.0) > much
    assert table.least_error(images) < much


def test_no_fine_tuning_is_planned_that_would_end_before_it_has_gained() -> None:
    table, dataset = Table.load(), _dataset(60_000, test=5000)
    costs = ways.WayCosts(dataset, MACHINE, mirrored=True, folds=None)
    costs.forwards[96] = 0.001
    steps = ways.MOST_SEEN / 60_000 * costs.epoch(64, "upper")
    # How many images it begins with depends on the time.
    short, enough = (costs.evaluation(64, 1) + costs.start(64, left) + steps for left in (0.0, math.inf))
    assert list(ways.ways(table, costs, short - 0.1, None, ("upper", "all"))) == []
    assert {way.learns for _, way in ways.ways(table, costs, enough + 0.1, None, ("upper", "all"))} == {"upper"}


def test_the_plan_says_what_to_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    familiar = _plan(_dataset(47_500, test=10_000), "always", learns="upper", seconds=300.0)
    table, network = Table.load(), familiar.recipe.network
    way = ways.Way(network.side, familiar.recipe.views, "upper")
    assert familiar.expected_accuracy == pytest.approx(1 - table.error(way, 47_500, 0.9 * familiar.epochs))
    low, high = familiar.expected_accuracy_interval
    assert low < familiar.expected_accuracy < high < low + 0.1
    other = _plan(_dataset(90), probe=Probe(0.6, 0.6, 30))
    assert 0.6 < other.expected_accuracy < 1
    low, high = other.expected_accuracy_interval
    assert high - low > 0.3 and "forecast is wide" in other.reasons[-1]


def test_a_gpu_fine_tunes_many_images_in_larger_batches() -> None:
    def recipe(images: int, device: str, changes: Adjustments | None = None, max_memory: float | None = None) -> Recipe:
        machine = replace(MACHINE, device=device)
        augmentation, _ = choose_augmentation(_dataset(images), SAFE)
        given = (changes, None, 60.0, 0.5, max_memory, 0, 0.0)
        task = choosing.Task(_dataset(images), SAFE, machine, "efficientnet-lite0", augmentation, *given)
        return task.recipe(ways.Way(96, 1, "all"))

    usual, large = recipe(6000, "cpu"), recipe(6000, "cuda")
    assert (usual.batch_size, large.batch_size) == (choosing.BATCH, choosing.GPU_BATCH)
    assert large.adam_rate == pytest.approx(usual.adam_rate * 8**0.5)
    assert recipe(5000, "cuda") == recipe(5000, "cpu") == usual
    own = recipe(6000, "cuda", Adjustments(batch_size=64))
    assert (own.batch_size, own.adam_rate) == (64, usual.adam_rate)
    assert recipe(6000, "cuda", max_memory=1e9) == usual
    assert recipe(20, "cpu").batch_size == 10


def test_a_gpu_that_has_no_room_for_a_way_takes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    _steps_take(monkeypatch, {"upper": 2.0, "all": 3.0})
    measured = choosing.measure_cost

    def crowded(recipe: Recipe, *given: object) -> Cost:
        if recipe.network.learns == "all":
            raise torch.OutOfMemoryError
        return measured(recipe, *given)

    monkeypatch.setattr(choosing, "measure_cost", crowded)
    assert _plan(_dataset(2000), "always", seconds=300.0).recipe.network.learns == "upper"


def test_no_further_way_is_timed_where_one_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    tried = _steps_take(monkeypatch, {"upper": 30.0, "all": 60.0})
    monkeypatch.setattr(choosing, "TRIALS_SHARE", 0.0)
    _plan(_dataset(2000), "always", seconds=300.0)
    assert len(tried) == 1


def test_no_table_knows_a_changed_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_trials(monkeypatch)
    assert _plan(_dataset(2000), adjustments=Adjustments(rate_scale=0.5)).expected_accuracy is None
