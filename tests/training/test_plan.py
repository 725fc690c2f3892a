from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from rung.data.dataset import Dataset, Split
from rung.data.probe import Probe, probe
from rung.errors import UsageError
from rung.models.fast import FastConfig
from rung.training.device import Machine
from rung.training.measure import Cost, NetworkSize
from rung.training.plan import (
    Plan,
    build_model,
    choose_augmentation,
    choose_batch_size,
    choose_filter_rate,
    choose_image_size,
    evaluation_seconds,
    fit_memory,
    fitting,
    make_plan,
)
from rung.training.recipe import Recipe
from rung.training.session import total_steps

SMALL = FastConfig(stages=((8,), (8,)), stem_filters=4)
MIB = 2**20
SIZES = {"train": 47_500, "val": 2_500, "test": 10_000}


def plan_for(dataset: Dataset, machine: Machine, seconds: float | None = 20.0, **options: object) -> Plan:
    return make_plan(dataset, probe(dataset.train, len(dataset.classes), 0), machine, seconds=seconds, **options)


# --- any data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {"images": 300, "classes": 2, "size": (16, 16)},
        {"images": 20, "classes": 2, "size": (8, 8), "channels": 3},
        {"images": 600, "classes": 100, "size": (12, 12), "channels": 3},
        {"images": 200, "classes": 10, "size": (8, 8)},
        {"images": 40, "classes": 3, "size": (96, 96), "channels": 3},
        {"images": 40, "classes": 3, "size": (1, 3)},
    ],
    ids=["300 images", "20 images", "100 classes", "grey 8x8", "photos", "rows of pixels"],
)
def test_a_plan_for_any_data(make_dataset: Callable[..., Dataset], machine: Machine, data: dict[str, object]) -> None:
    dataset = make_dataset(**data)
    plan = plan_for(dataset, machine, seconds=20.0, spent=3.0)
    assert plan.steps >= 1 and plan.epochs > 0
    assert 1 <= plan.recipe.batch_size <= 250
    assert plan.budget == 23
    low, high = plan.expected_accuracy_interval
    assert 0 <= low <= plan.expected_accuracy <= high <= 1
    assert plan.expected_seconds.keys() == {"start", "training", "evaluation", "report"}
    assert sum(plan.expected_seconds.values()) == pytest.approx(23, rel=0.05)
    json.dumps(plan.to_dict(), allow_nan=False)
    words = "\n".join(plan.lines())
    assert str(plan.recipe.network) in words and "expected test accuracy" in words
    model = build_model(plan.recipe, dataset, torch.device("cpu"), 0)
    assert model(torch.from_numpy(dataset.train.take([0, 1]))).shape == (2, len(dataset.classes))


def test_more_time_is_planned_to_reach_more(dataset: Dataset, machine: Machine) -> None:
    short, long = plan_for(dataset, machine, seconds=3.0), plan_for(dataset, machine, seconds=300.0)
    assert long.epochs * long.multiply_adds > short.epochs * short.multiply_adds
    assert long.expected_accuracy >= short.expected_accuracy


@pytest.mark.parametrize("seconds", [1e-6, 0.5, -3.0])
def test_a_tiny_budget_is_one_clear_sentence(dataset: Dataset, machine: Machine, seconds: float) -> None:
    with pytest.raises(UsageError) as caught:
        plan_for(dataset, machine, seconds=seconds)
    message = str(caught.value)
    assert message.startswith("the budget leaves no time for a single training step")
    assert message.endswith("give a larger --budget")
    assert "\n" not in message


@pytest.mark.parametrize("epochs", [0.5, 3.0, 40.0])
def test_a_number_of_epochs_is_kept(dataset: Dataset, machine: Machine, epochs: float) -> None:
    plan = plan_for(dataset, machine, seconds=None, epochs=epochs, network=SMALL)
    assert plan.epochs == epochs
    assert plan.budget is None
    assert plan.steps == total_steps(dataset, plan.recipe, epochs)


def test_fewer_images_than_a_batch_are_one_step_an_epoch(
    make_dataset: Callable[..., Dataset], machine: Machine
) -> None:
    plan = plan_for(make_dataset(6, 2), machine, seconds=None, epochs=3.0, network=SMALL)
    assert plan.steps == 3
    assert plan_for(make_dataset(6, 2), machine, seconds=None, epochs=0.1, network=SMALL).steps == 1


def test_the_plan_for_epochs_does_not_depend_on_the_speed(
    dataset: Dataset, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rung.training import plan as module

    recipes = []
    for slow in (1, 1000):

        def cost(
            recipe: Recipe, data: Dataset, machine: Machine, seed: int, most: float | None, slow: int = slow
        ) -> Cost:
            return Cost(module.network_size(recipe.network, data), 1e-4 * slow, 3e-5 * slow, 1, 1)

        monkeypatch.setattr(module, "measure_cost", cost)
        recipes.append(plan_for(dataset, machine, seconds=None, epochs=3.0).recipe)
    assert recipes[0] == recipes[1]


@pytest.mark.parametrize(("step", "batch_size"), [(5e-6, 1000), (1e-4, 250)], ids=["fast", "slow"])
def test_a_gpu_with_time_for_many_epochs_has_large_batches(
    step: float, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many epochs teach as much in them, and a GPU has twice as many; a slow one has not enough."""
    from rung.training import plan as module

    measured = []

    def cost(recipe: Recipe, data: Dataset, machine: Machine, seed: int, most: float | None) -> Cost:
        size = module.network_size(recipe.network, data)
        measured.append((recipe.network, recipe.batch_size))
        each = step * (1 + size.multiply_adds / 1e8) * (0.5 if recipe.batch_size == 1000 else 1)
        return Cost(size, each, each / 3, 1, 1)

    monkeypatch.setattr(module, "measure_cost", cost)
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    splits = [Split(name, images, np.arange(size) % 50, np.arange(size) % 10) for name, size in SIZES.items()]
    data = Dataset("like CIFAR-10", "nowhere", tuple("abcdefghij"), *splits, "00" * 32)
    gpu = Machine("cuda", "imagined", 4, "bfloat16", 1e5)
    plan = make_plan(data, Probe(0.33, 0.33, 1000), gpu, seconds=60.0)
    assert plan.recipe.batch_size == batch_size
    assert plan.recipe.filter_rate == choose_filter_rate(plan.steps, batch_size)
    assert len(measured) == len(set(measured))
    processor = replace(gpu, device="cpu")
    assert make_plan(data, Probe(0.33, 0.33, 1000), processor, seconds=60.0).recipe.batch_size == 250


def test_the_rate_of_a_large_batch() -> None:
    """Sixteen epochs of 45,000 images, as measured."""
    assert choose_filter_rate(16 * 45) == choose_filter_rate(16 * 45, 100) == pytest.approx(0.123, abs=1e-3)
    assert choose_filter_rate(16 * 45, 1000) == pytest.approx(0.2)
    assert choose_filter_rate(1, 1000) == 0.24


def test_a_network_can_be_asked_for(dataset: Dataset, machine: Machine) -> None:
    assert plan_for(dataset, machine, network=SMALL).recipe.network == SMALL


# --- the parts -----------------------------------------------------------------------------------


def cost(base: int = 500 * MIB, each: int = MIB) -> Cost:
    return Cost(NetworkSize(1, 1, 1), 1e-3, 3e-4, base, each)


def test_memory_shrinks_the_batch() -> None:
    recipe = Recipe(network=SMALL, batch_size=250)
    assert fit_memory(recipe, cost(), None) == (recipe, "")
    assert fit_memory(recipe, cost(), 800 * MIB) == (recipe, "")
    smaller, reason = fit_memory(recipe, cost(), 600 * MIB)
    assert smaller == replace(recipe, batch_size=100)
    assert reason == "Batches of 100 instead of 250 keep within 600 MiB."


def test_too_little_memory_is_one_clear_sentence(dataset: Dataset, machine: Machine) -> None:
    with pytest.raises(UsageError, match=r"^--max-memory 100 MiB is too small: training needs at least 508 MiB$"):
        fit_memory(Recipe(network=SMALL), cost(), 100 * MIB)
    with pytest.raises(UsageError, match="--max-memory 10 MiB is too small"):
        plan_for(dataset, machine, max_memory=10 * MIB)


@pytest.mark.parametrize("images", [1, 9, 160, 1000, 5000, 10**7])
def test_batch_sizes(images: int) -> None:
    size = choose_batch_size(images)
    assert 8 <= size <= 250
    assert size == 8 or images // size >= 20


@pytest.mark.parametrize(("side", "stride"), [(8, 1), (32, 1), (40, 1), (64, 2), (96, 3), (224, 7)])
def test_large_images_get_a_stem_that_covers_its_stride(
    make_dataset: Callable[..., Dataset], side: int, stride: int
) -> None:
    config = fitting(FastConfig(), make_dataset(6, 2, size=(side, side)))
    assert isinstance(config, FastConfig)
    assert config.stem_stride == stride
    assert config.stem_size >= stride


@pytest.mark.parametrize(("side", "stride", "size"), [(8, 1, 2), (20, 1, 2), (28, 2, 3), (32, 2, 3), (64, 4, 5)])
def test_a_coarse_stem_leaves_small_images_their_resolution(
    make_dataset: Callable[..., Dataset], side: int, stride: int, size: int
) -> None:
    config = fitting(FastConfig(stem_size=3, stem_stride=2), make_dataset(6, 2, size=(side, side)))
    assert isinstance(config, FastConfig)
    assert (config.stem_stride, config.stem_size) == (stride, size)


@pytest.mark.parametrize("mirrored", [0.6, 0.1])
def test_mirroring_where_it_is_safe(dataset: Dataset, mirrored: float) -> None:
    augmentation, reason = choose_augmentation(dataset, Probe(0.6, mirrored, 1000))
    assert augmentation.flip is (mirrored == 0.6)
    assert 1 <= augmentation.translate <= 2
    assert ("is used" in reason) is augmentation.flip


def test_small_images_of_one_size_keep_it() -> None:
    for size in ((8, 8), (28, 28), (32, 32), (48, 40)):
        assert choose_image_size(size, size, 1000, 60) is None


@pytest.mark.parametrize("median", [(300, 400), (1000, 800)])
def test_more_time_for_each_image_means_more_pixels(median: tuple[int, int]) -> None:
    sides = [choose_image_size(None, median, 1000, budget) or 0 for budget in (0.5, 3, 10, 60, 600, 6000)]
    assert sides == sorted(sides)
    assert sides[0] == 32 and sides[-1] == 128


def test_images_are_never_enlarged_by_choice() -> None:
    for median in ((50, 70), (20, 90), (3, 3)):
        assert (choose_image_size(None, median, 10, 3600) or 0) <= max(8, min(median))
    assert choose_image_size(None, (300, 300), 1000, None) in (32, 48, 64, 96, 128)


def test_the_evaluation_is_of_all_splits(dataset: Dataset) -> None:
    images = len(dataset.test) + len(dataset.val) + len(dataset.train)
    assert evaluation_seconds(dataset, 2, 1e-3) == pytest.approx(2e-3 * images)


# --- the model -----------------------------------------------------------------------------------


def test_statistics_come_from_the_training_split_alone(dataset: Dataset) -> None:
    train = dataset.train
    images = np.array(train.images)
    others = np.setdiff1d(np.arange(len(images)), train.rows)
    images[others] = 255
    disturbed = replace(dataset, train=replace(train, images=images))
    recipe, cpu = Recipe(network=SMALL, views=1), torch.device("cpu")
    one, other = (build_model(recipe, data, cpu, 0).state_dict() for data in (dataset, disturbed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    pixels = train.take(slice(None))
    assert one["mean"].item() == pytest.approx(pixels.mean(), rel=1e-4)
    assert one["std"].item() == pytest.approx(pixels.std(), rel=1e-3)


def test_the_seed_decides_the_weights(dataset: Dataset) -> None:
    recipe, cpu = Recipe(network=SMALL), torch.device("cpu")
    heads = [build_model(recipe, dataset, cpu, seed).network.head.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_images_of_a_single_colour(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(30, 2)
    flat = np.full_like(dataset.train.images, 7)
    dataset = replace(dataset, train=replace(dataset.train, images=flat))
    model = build_model(Recipe(network=SMALL), dataset, torch.device("cpu"), 0)
    assert all(math.isfinite(value.abs().max()) for value in model.state_dict().values())
