from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rung.data.dataset import Dataset, Split
from rung.data.probe import Probe
from rung.models.fast import FastConfig
from rung.training.frontier import FewImages, Frontier

SMALL, LARGE = FastConfig(stages=((8,),)), FastConfig(stages=((64,),))
CURVES = {SMALL: ((1.0, 4.0), (0.4, 0.2)), LARGE: ((2.0, 8.0), (0.3, 0.1))}


@pytest.fixture
def frontier() -> Frontier:
    few = FewImages(odds={SMALL: 0.3, LARGE: 0.2}, power=0.5, sharpness=4.0)
    return Frontier(1000, probe_accuracy=0.3, curves=CURVES, few=few, views={1: 1.04, 2: 1.0, 6: 0.99}, scatter=0.01)


def familiar_dataset(count: int = 1000) -> Dataset:
    images = np.zeros((1, 32, 32, 3), np.uint8)
    splits = [
        Split(name, images, np.zeros(size, np.int64), np.zeros(size, np.int64))
        for name, size in (("train", count), ("val", 100), ("test", 200))
    ]
    return Dataset("familiar", "the tests", tuple("0123456789"), *splits, "")


FAMILIAR = Probe(accuracy=0.31, mirrored_accuracy=0.3, images=1000)


def test_the_package_has_tables() -> None:
    frontier = Frontier.load()
    assert frontier.networks
    assert 0 < frontier.probe_accuracy < 1 and 0 < frontier.scatter < 0.1
    for epochs, errors in frontier.curves.values():
        assert list(epochs) == sorted(set(epochs)) and len(epochs) == len(errors)
        assert all(0 < error < 1 for error in errors)
        assert list(errors) == sorted(errors, reverse=True)


@pytest.mark.parametrize("config", Frontier.load().networks, ids=str)
def test_more_epochs_are_never_worse(config: FastConfig) -> None:
    frontier = Frontier.load()
    found = [frontier.accuracy(config, epochs, frontier.images) for epochs in np.geomspace(1e-4, 1e4, 60)]
    assert all(0 <= accuracy < 1 for accuracy in found)
    assert found == sorted(found)


def test_measured_points_are_met_and_between_them_logarithms_are_straight(frontier: Frontier) -> None:
    assert frontier.accuracy(SMALL, 1, 1000) == pytest.approx(0.6)
    assert frontier.accuracy(SMALL, 4, 1000) == pytest.approx(0.8)
    assert frontier.accuracy(SMALL, 2, 1000) == pytest.approx(1 - (0.4 * 0.2) ** 0.5)
    # Beyond the last point: half the slope.
    assert frontier.accuracy(SMALL, 16, 1000) == pytest.approx(1 - 0.2 * 0.5**0.5)


def test_more_images_than_were_measured_count_by_how_often_they_are_shown(frontier: Frontier) -> None:
    assert frontier.accuracy(SMALL, 1, 4000) == pytest.approx(frontier.accuracy(SMALL, 4, 1000))


def test_fewer_images_leave_errors_that_no_pass_removes(frontier: Frontier) -> None:
    left = frontier.few.error(SMALL, 100)
    assert left == pytest.approx(0.3 * 10**0.5 / (1 + 0.3 * 10**0.5 / 0.9))
    shown = [1 - frontier.accuracy(SMALL, 10 * passes, 100) for passes in (0.5, 1, 4, 1e6)]
    assert shown == sorted(shown, reverse=True) and shown[-1] == pytest.approx(left, abs=0.01)
    # Both together are more than either, and where one is far larger it is nearly all.
    assert shown[1] > max(0.4, left)
    assert 1 - frontier.accuracy(SMALL, 1e4, 100) < 1.05 * left
    assert frontier.few.error(LARGE, 100) < left < frontier.few.error(SMALL, 10) < 0.9


def test_the_least_error_is_the_best_networks(frontier: Frontier) -> None:
    assert frontier.least_error(1000) == pytest.approx(0.99 * 0.1)
    assert [frontier.least_error(count) for count in (10, 100, 1000)] == sorted(
        (frontier.least_error(count) for count in (10, 100, 1000)), reverse=True
    )


def test_trainings_on_fewer_images_end_where_the_package_says() -> None:
    """Validation errors of 64-256-256 and of the smallest network on 500 to 15,000 images (benchmarks/frontier.py)."""
    frontier = Frontier.load()
    largest, smallest = frontier.networks[-2], frontier.networks[0]
    for images, passes, network, error in (
        (1500, 0.5, largest, 0.315),
        (5000, 4, largest, 0.191),
        (15_000, 4, largest, 0.142),
        (500, 4, smallest, 0.471),
        (5000, 8, smallest, 0.259),
    ):
        epochs = passes * frontier.images / images
        assert 1 - frontier.accuracy(network, epochs, images) == pytest.approx(error, abs=0.025)


def test_a_network_of_another_stem_or_another_body_has_a_forecast(frontier: Frontier) -> None:
    assert frontier.accuracy(replace(LARGE, stem_stride=3), 4, 1000) == frontier.accuracy(LARGE, 4, 1000)
    assert 0 < frontier.accuracy(FastConfig(stages=((5, 5, 5),)), 4, 1000) < 1


def test_familiar_data(frontier: Frontier, make_dataset: Callable[..., Dataset]) -> None:
    dataset = familiar_dataset()
    assert frontier.is_familiar(dataset, FAMILIAR)
    assert not frontier.is_familiar(dataset, replace(FAMILIAR, accuracy=0.6))
    assert not frontier.is_familiar(familiar_dataset(100), FAMILIAR)
    assert not frontier.is_familiar(make_dataset(1000, 10, size=(32, 32)), FAMILIAR)
    assert "CIFAR-10" in frontier.reason(dataset, FAMILIAR)
    assert "wide" in frontier.reason(make_dataset(30, 2), FAMILIAR)


@pytest.mark.parametrize("accuracy", [0.0, 0.31, 0.6, 0.99, 1.0])
@pytest.mark.parametrize("epochs", [0.01, 3.0, 1000.0])
def test_the_interval_holds_the_expectation(frontier: Frontier, accuracy: float, epochs: float) -> None:
    expected, (low, high) = frontier.expectation(
        LARGE, epochs, familiar_dataset(), replace(FAMILIAR, accuracy=accuracy)
    )
    assert 0 <= low <= expected <= high <= 1


def test_without_a_test_split_the_validation_split_is_forecast(frontier: Frontier) -> None:
    dataset = familiar_dataset()
    no_test = replace(dataset, test=dataset.test.subset(np.empty(0, np.int64)))
    _, (low, high) = frontier.expectation(LARGE, 4, no_test, FAMILIAR)
    _, (narrow_low, narrow_high) = frontier.expectation(LARGE, 4, dataset, FAMILIAR)
    assert low < narrow_low < narrow_high < high


def test_more_views_leave_fewer_errors(frontier: Frontier) -> None:
    config = frontier.networks[0]
    one, two, six = (frontier.accuracy(config, 1.0, 1000, views) for views in (1, 2, 6))
    assert one < two < six
    assert (1 - one) / (1 - two) == pytest.approx(1.04)
