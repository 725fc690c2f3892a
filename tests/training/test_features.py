"""Features of a pretrained network: computed once for the same images, weights and machine, and kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rung.data.cache import Cache
from rung.data.dataset import Dataset
from rung.models.classifier import Classifier
from rung.models.pretrained import PretrainedConfig
from rung.training import features as module
from rung.training.features import features_of


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path))
    return tmp_path / "features"


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(30, channels=3, size=(16, 16))


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    network = PretrainedConfig(side=32).build((16, 16), 3, 3)
    return Classifier(network, *network.normalisation()).eval()


def _not_again(monkeypatch: pytest.MonkeyPatch, model: Classifier) -> None:
    def refuse(images: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(model.network, "features", refuse)


def test_the_same_images_are_computed_once(dataset, model, cache, monkeypatch) -> None:
    first = features_of(model, dataset.train, "float32", mirrored=True)
    assert first.sides.shape == (2, 30, sum(model.network.widths))
    seen = []
    _not_again(monkeypatch, model)
    again = features_of(model, dataset.train, "float32", mirrored=True, progress=seen.append)
    assert torch.equal(first.sides, again.sides) and torch.equal(first.labels, again.labels)
    assert seen == [30]


@pytest.mark.parametrize("what", ["images", "order", "weights", "mirrored"])
def test_what_changes_is_computed_anew(what, dataset, model, cache, monkeypatch) -> None:
    before = features_of(model, dataset.train, "float32", mirrored=False)
    split = dataset.train
    if what == "images":
        split = split.subset(np.arange(29))
    elif what == "order":
        split = split.subset(np.arange(30)[::-1])
    elif what == "weights":
        bias = model.network.backbone.top[0].bias
        monkeypatch.setattr(bias, "data", bias.data + 0.5)
    after = features_of(model, split, "float32", mirrored=what == "mirrored")
    assert after.sides.shape != before.sides.shape or not torch.equal(after.sides, before.sides)
    assert len(list(cache.iterdir())) == 2


def test_nothing_goes_into_a_cache_that_does_not_last(dataset, model, cache, monkeypatch) -> None:
    monkeypatch.setattr(Cache, "is_temporary", True)
    features_of(model, dataset.train, "float32", mirrored=False)
    assert not cache.exists()


def test_what_predicts_afterwards_is_the_same(make_dataset, model, cache) -> None:
    many = make_dataset(200, channels=3, size=(16, 16))
    features_of(model, many.train, "float32", mirrored=False)
    engine = model.network.engine
    model.network._forget()
    features_of(model, many.train, "float32", mirrored=False)
    assert model.network.engine == engine
    model.network._forget()


def test_what_was_stopped_is_not_kept(dataset, model, cache) -> None:
    part = features_of(model, dataset.train, "float32", mirrored=False, stop=lambda: True)
    assert len(part) == model.network.images_at_once
    assert not cache.exists()


def test_a_damaged_file_is_computed_again(dataset, model, cache) -> None:
    first = features_of(model, dataset.train, "float32", mirrored=False)
    [entry] = cache.iterdir()
    (entry / "features.npy").write_bytes(b"\x93NUMPY and then nothing")
    assert torch.equal(features_of(model, dataset.train, "float32", mirrored=False).sides, first.sides)
    assert np.load(entry / "features.npy").shape == (1, 30, sum(model.network.widths))


def test_the_oldest_make_room(dataset, model, cache, monkeypatch) -> None:
    features_of(model, dataset.train, "float32", mirrored=False)
    [old] = cache.iterdir()
    os.utime(old, (1, 1))
    monkeypatch.setattr(module, "KEPT_TOGETHER", 4 * 30 * sum(model.network.widths) + 1000)
    features_of(model, dataset.val, "float32", mirrored=False)
    [left] = cache.iterdir()
    assert left != old


def test_a_cache_that_cannot_be_written_loses_nothing(dataset, model, tmp_path, monkeypatch) -> None:
    (tmp_path / "features").write_text("a file where the folder should be")
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path))
    assert len(features_of(model, dataset.train, "float32", mirrored=False)) == 30
