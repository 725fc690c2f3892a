"""The first part of a fine-tuning, and the whole of a head: features, as many as there is time for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rung.data.dataset import Dataset
from rung.models.classifier import Classifier
from rung.models.pretrained import Learns, PretrainedConfig
from rung.training import beginning
from rung.training.beginning import start_from_features
from rung.training.clocks import Clock
from rung.training.features import Features
from rung.training.head import Head
from rung.training.loop import TrainingState
from rung.training.optimizers import Optimizers
from rung.training.recipe import Recipe
from rung.training.session import DisplayObserver


class LateClock:
    """All the time was gone before the first image, or some of it when the second batch is asked for."""

    paused = 0.0

    def __init__(self, *progress: float) -> None:
        self._progress = list(progress)

    def progress(self, step: int) -> float:
        return self._progress.pop(0) if self._progress else 1.0

    def seconds_left(self, step: int, seconds_per_step: float) -> float:
        return 0.0

    def begin(self, done: float) -> None:
        pass

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
    _, seen = _begun(make_dataset(60, 3, channels=3, size=(16, 16)), monkeypatch, LateClock())
    assert seen == learnt


@pytest.mark.parametrize(
    ("learns", "progress", "learnt"),
    [
        ("head", (0.0, 0.5, 0.5), 60),
        ("upper", (0.0, 0.5, 0.5), 25),
        ("upper", (0.0, 0.1, 0.1), 60),
        ("upper", (0.5, 0.55, 0.55), 60),
        ("upper", (0.5, 0.6, 0.6), 25),
    ],
)
def test_a_head_that_is_to_be_tuned_leaves_the_time_to_the_steps(
    make_dataset: Callable[..., Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    learns: Learns,
    progress: tuple[float, ...],
    learnt: int,
) -> None:
    """Of the time that is left when it begins: a training that was stopped before its first step begins anew."""
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path))
    monkeypatch.setattr(beginning, "WORTH_WAITING", 0.0)
    dataset = make_dataset(60, 3, channels=3, size=(16, 16))
    state, seen = _begun(dataset, monkeypatch, LateClock(*progress), learns, used=7.0)
    assert seen == learnt
    assert state.history[0].seconds == state.seconds > 7.0
    if learns == "head":
        assert state.history[0].images_per_second > 60 / state.seconds


def _begun(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, clock: Clock, learns: Learns = "head", used: float = 0.0
) -> tuple[TrainingState, int]:
    """A training with its head, and on how many images that was fitted."""
    torch.manual_seed(0)
    recipe = Recipe(network=PretrainedConfig(side=32, learns=learns), optimizer="adam")
    network = recipe.network.build((16, 16), 3, 3)
    state = TrainingState(Classifier(network, *network.normalisation()), Optimizers(network, recipe))
    state.seconds = used
    seen: list[int] = []
    monkeypatch.setattr(beginning, "fit_head", lambda features, *given: seen.append(len(features)) or _head(features))
    given = {"validation": dataset.val, "seed": 0, "precision": "float32", "observer": DisplayObserver()}
    start_from_features(state, dataset, recipe, clock, **given)
    return state, seen[0]


def _head(features: Features) -> Head:
    width = features.sides.shape[2]
    return Head(torch.zeros(3, width), torch.zeros(3), 1.0)
