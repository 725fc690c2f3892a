"""The first part of a fine-tuning, and the whole of a head: features, as many as there is time for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rung.data.dataset import Dataset
from rung.models.classifier import Classifier
from rung.models.pretrained import PretrainedConfig
from rung.training import beginning
from rung.training.beginning import start_from_features
from rung.training.features import Features
from rung.training.head import Head
from rung.training.loop import TrainingState
from rung.training.optimizers import Optimizers
from rung.training.recipe import Recipe
from rung.training.session import DisplayObserver


class LateClock:
    """All the time was gone before the first image."""

    def progress(self, step: int) -> float:
        return 1.0

    def seconds_left(self, step: int, seconds_per_step: float) -> float:
        return 0.0

    def reserve(self, seconds: float) -> None:
        pass


@pytest.mark.parametrize(("worth_waiting", "learnt"), [(60.0, 60), (0.0, 25)], ids=["soon done", "far from done"])
def test_late_as_it_is_a_head_learns_from_all_images_where_that_is_soon_done(
    make_dataset: Callable[..., Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    worth_waiting: float,
    learnt: int,
) -> None:
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path))
    monkeypatch.setattr(beginning, "WORTH_WAITING", worth_waiting)
    dataset = make_dataset(60, 3, channels=3, size=(16, 16))
    torch.manual_seed(0)
    recipe = Recipe(network=PretrainedConfig(side=32), optimizer="adam")
    network = recipe.network.build((16, 16), 3, 3)
    state = TrainingState(Classifier(network, *network.normalisation()), Optimizers(network, recipe))
    seen = []
    monkeypatch.setattr(beginning, "fit_head", lambda features, *given: seen.append(len(features)) or _head(features))
    given = {"validation": dataset.val, "seed": 0, "precision": "float32", "observer": DisplayObserver()}
    start_from_features(state, dataset, recipe, LateClock(), **given)
    assert seen == [learnt]


def _head(features: Features) -> Head:
    width = features.sides.shape[2]
    return Head(torch.zeros(3, width), torch.zeros(3), 1.0)
