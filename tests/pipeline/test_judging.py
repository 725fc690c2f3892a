from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rung.data.dataset import Dataset
from rung.errors import RunError
from rung.models.classifier import Classifier, predict
from rung.models.fast import FastConfig
from rung.pipeline import judging
from rung.pipeline.judging import hurry, judge
from rung.training.plan import build_model
from rung.training.recipe import Recipe

TIMES = {"seconds": 2.0, "wall_seconds": 5.0, "images_per_second": 100.0}


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(60, 3)


@pytest.fixture
def model(dataset: Dataset) -> Classifier:
    recipe = Recipe(network=FastConfig(stages=((8,),), stem_filters=4), views=1)
    return build_model(recipe, dataset, torch.device("cpu"), 0)


def test_every_split_has_its_accuracy(model: Classifier, dataset: Dataset) -> None:
    evaluation, probabilities = judge(model, dataset, "float32", **TIMES)
    np.testing.assert_array_equal(probabilities, predict(model, dataset.test))
    for split, accuracy in (
        (dataset.train, evaluation.train_accuracy),
        (dataset.val, evaluation.val_accuracy),
        (dataset.test, evaluation.accuracy),
    ):
        assert accuracy == (predict(model, split).argmax(1) == split.labels).mean()
    assert {name: getattr(evaluation, name) for name in TIMES} == TIMES


def test_the_temperature_is_set_before_the_test_split_is_seen(model: Classifier, dataset: Dataset) -> None:
    plain, _ = judge(model, dataset, "float32", **TIMES)
    assert model.temperature == 1
    calibrated, probabilities = judge(model, dataset, "float32", calibrate=True, **TIMES)
    assert model.temperature != 1
    assert calibrated.accuracy == plain.accuracy and calibrated.val_accuracy == plain.val_accuracy
    np.testing.assert_array_equal(probabilities, predict(model, dataset.test))


def test_metrics_can_be_computed_elsewhere(model: Classifier, dataset: Dataset) -> None:
    asked: dict[str, Any] = {}

    def compute(probabilities: Any, labels: Any, classes: Any, **given: Any) -> Any:
        asked.update(given, classes=classes)
        return "an evaluation"

    assert judge(model, dataset, "float32", compute=compute, **TIMES)[0] == "an evaluation"
    assert asked.keys() == {"train_accuracy", "val_accuracy", "val_images", "classes", *TIMES}


def test_a_diverged_network_is_one_clear_sentence(model: Classifier, dataset: Dataset) -> None:
    with torch.no_grad():
        model.network.head.weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"^the network has diverged: its probabilities are not numbers"):
        judge(model, dataset, "float32", **TIMES)


def test_what_finding_out_takes_is_taken_off(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    network = FastConfig(stages=((4,),)).build(dataset.image_size, dataset.channels, len(dataset.classes))
    model = Classifier(network, [128.0] * dataset.channels, [64.0] * dataset.channels, views=6)
    now = [0.0]
    monkeypatch.setattr(judging.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(judging, "predict", lambda *given, **options: now.__setitem__(0, now[0] + 1.0))
    monkeypatch.setattr(judging, "evaluation_seconds", lambda dataset, views, forward: 1.0 * views)
    # Two trials of a second each leave 5.5 s of these, which are enough for two views and not for six.
    assert hurry(model, dataset, "float32", 7.5)
    assert model.views == 2


@pytest.mark.parametrize(("seconds", "views"), [(1e9, 6), (0.0, 1)])
def test_views_are_given_up_where_time_is_short(seconds: float, views: int, dataset: Dataset) -> None:

    network = FastConfig(stages=((4,),)).build(dataset.image_size, dataset.channels, len(dataset.classes))
    model = Classifier(network, [128.0] * dataset.channels, [64.0] * dataset.channels, views=6)
    assert hurry(model, dataset, "float32", seconds) == (views < 6)
    assert model.views == views
