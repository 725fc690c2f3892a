from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rung.data.batches import Batches
from rung.data.dataset import Dataset, Split
from rung.models.fast import FastConfig
from rung.training import measure
from rung.training.device import Machine
from rung.training.measure import count, measure_cost, network_size
from rung.training.recipe import Recipe


def test_counts_against_a_calculation_by_hand() -> None:
    config = FastConfig(stages=((8, 8), (16,)), stem_size=2, stem_filters=24)
    size = count(config, (8, 8), 3, 10)
    # Whitening: 3 × 2 × 2 components with both signs; then 7 × 7 pixels, which are enough for one pooling, after
    # the last convolution.
    layers = [
        (24, 3 * 2 * 2, 7 * 7),
        (8, 24 * 9, 7 * 7),
        (8, 8 * 9, 7 * 7),
        (16, 8 * 9, 7 * 7),
        (10, 16, 1),
    ]
    assert size.multiply_adds == sum(outputs * inputs * places for outputs, inputs, places in layers)
    assert size.activations == sum(outputs * places for outputs, _, places in layers)
    normalisations = 2 * (8 + 8 + 16)
    assert size.parameters == sum(outputs * inputs for outputs, inputs, _ in layers) + normalisations


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (96, 64)])
def test_parameters_are_those_of_the_network(size: tuple[int, int]) -> None:
    config = FastConfig()
    network = config.build(size, 3, 7)
    assert count(config, size, 3, 7).parameters == sum(p.numel() for p in network.parameters())


def test_costs_are_measured(dataset: Dataset, recipe: Recipe, machine: Machine) -> None:
    cost = measure_cost(recipe, dataset, machine, seed=0)
    assert cost.size == network_size(recipe.network, dataset)
    assert 0 < cost.forward < 1 and 0 < cost.step < 1
    assert cost.base_bytes > 0 and cost.bytes_per_image >= cost.size.activations


def test_a_larger_network_costs_more(make_dataset: Callable[..., Dataset], recipe: Recipe, machine: Machine) -> None:
    dataset = make_dataset(120, 3, size=(24, 24))
    small, large = (
        measure_cost(replace(recipe, network=FastConfig(stages=((width,), (width,)))), dataset, machine, seed=0)
        for width in (8, 128)
    )
    assert large.step > small.step
    assert large.bytes_per_image > small.bytes_per_image


def test_fewer_images_than_a_batch(make_dataset: Callable[..., Dataset], recipe: Recipe, machine: Machine) -> None:
    cost = measure_cost(replace(recipe, batch_size=500), make_dataset(20, 2), machine, seed=0)
    assert cost.step > 0


def test_a_trial_keeps_within_the_memory(
    dataset: Dataset, recipe: Recipe, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    usual = measure.make_batches

    def make_batches(split: Split, batch_size: int, *given: Any) -> Batches:
        tried.append(batch_size)
        return usual(split, batch_size, *given)

    monkeypatch.setattr(measure, "make_batches", make_batches)
    recipe = replace(recipe, batch_size=64)
    cost = measure_cost(recipe, dataset, machine, 0)
    for images in (20, 1):
        measure_cost(recipe, dataset, machine, 0, max_memory=cost.base_bytes + images * cost.bytes_per_image)
    assert tried == [64, 20, 8]


def test_a_forward_pass_is_timed_on_a_batch_as_of_the_evaluation(
    make_dataset: Callable[..., Dataset], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten training images make batches of eight, in which an image takes longer than among many."""
    seen: list[int] = []
    monkeypatch.setattr(measure, "predict", lambda model, images, **how: seen.append(len(images)))
    measure_cost(Recipe(network=FastConfig(), batch_size=8), make_dataset(12), machine, 0)
    assert set(seen) == {measure.FORWARD_IMAGES}


@pytest.mark.parametrize(
    ("seconds", "made", "counted"),
    [
        ([0.5, 0.04, 0.04, 0.04, 0.03, *[0.02] * 20], 8, 0.02),  # The first is never counted, the early ones are slow.
        ([0.5, *[0.001] * 30], 11, 0.001),
        ([0.5, 0.15, 0.25, 9.0], 3, 0.25),
        ([0.5, 0.6, 9.0], 2, 0.6),
    ],
)
def test_short_steps_are_timed_until_their_memory_is_warm(
    seconds: list[float],
    made: int,
    counted: float,
    dataset: Dataset,
    recipe: Recipe,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, steps = [0.0], []

    class Fake:
        def __init__(self, *given: Any, **named: Any) -> None: ...

        def __call__(self, number: int, share: float) -> None:
            now[0] += seconds[number]
            steps.append(number)

    monkeypatch.setattr(measure, "step_for", lambda device: Fake)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    cost = measure_cost(recipe, dataset, machine, 0, forward=0.01)
    assert steps == list(range(made))
    assert cost.step == pytest.approx(counted / recipe.batch_size)
