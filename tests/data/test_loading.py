from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import rung.data
from rung.data import find_source, load, materialise
from rung.data.lists import Listed
from rung.errors import DataError, UsageError

ClassFolders = Callable[..., Path]
MACHINE_DATA = os.environ.get("RUNG_DATA")


def test_public_names() -> None:
    for name in rung.data.__all__:
        assert getattr(rung.data, name) is not None
        assert name in dir(rung.data)
    with pytest.raises(AttributeError):
        rung.data.nothing  # noqa: B018


def test_cuts_are_stratified_disjoint_and_seeded() -> None:
    datasets = [load("digits", seed=seed) for seed in (0, 0, 1)]
    first = datasets[0]
    everything = np.concatenate([split.rows for split in first.splits])
    assert np.array_equal(np.sort(everything), np.arange(1797))
    for split, share in zip(first.splits, (0.72, 0.08, 0.2), strict=True):
        counts = np.bincount(split.labels, minlength=10)
        whole = np.bincount(np.concatenate([s.labels for s in first.splits]))
        assert (abs(counts - whole * share) <= 1.5).all()
    assert np.array_equal(datasets[0].test.rows, datasets[1].test.rows)
    assert not np.array_equal(datasets[0].test.rows, datasets[2].test.rows)
    assert datasets[0].fingerprint == datasets[2].fingerprint
    assert "no test split: 359 images" in first.notes[0] and "seed 0" in first.notes[0]
    assert "validation split is 144 of the 1,438" in first.notes[1]


def test_fractions() -> None:
    dataset = load("digits", test_fraction=0.5, val_fraction=0.25)
    assert [len(split) for split in dataset.splits] == [674, 225, 898]


def test_the_smallest_data(class_folders: ClassFolders, tmp_path: Path) -> None:
    dataset = load(class_folders(tmp_path, {"a": 3, "b": 3}))
    assert [split.labels.tolist() for split in dataset.splits] == [[0, 1]] * 3


def test_a_thousand_classes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3000, 2, 2), np.uint8)
    np.savez(tmp_path / "few.npz", x=images, y=np.arange(3000) % 1000)
    assert [len(split) for split in load(tmp_path / "few.npz").splits] == [1000, 1000, 1000]
    np.savez(tmp_path / "two.npz", x=images[:2000], y=np.arange(2000) % 1000)
    with pytest.raises(DataError, match=r"too few images of 0 \(2\), 1 \(2\), .* and 995 more"):
        load(tmp_path / "two.npz")


def test_image_size(tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", x=np.zeros((6, 300, 40), np.uint8), y=np.arange(6) % 2)
    source = find_source(tmp_path / "large.npz")
    assert materialise(source).image_size == (64, 64)
    assert materialise(source, image_size=(3, 5)).image_size == (3, 5)
    assert materialise(source, image_size=300).image_size == (300, 300)
    np.savez(tmp_path / "small.npz", x=np.zeros((6, 30, 40), np.uint8), y=np.arange(6) % 2)
    assert load(tmp_path / "small.npz").image_size == (30, 40)


def test_exclude(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 10, "b": 10})
    whole = load(tmp_path)
    file = whole.train.file(2)
    dataset = load(tmp_path, exclude=[file, str(whole.val.rows[1]), int(whole.train.rows[5])])
    assert [len(split) for split in dataset.splits] == [len(whole.train) - 2, len(whole.val) - 1, len(whole.test)]
    # The cuts are the same, so that runs with and without the images can be compared image by image.
    assert dataset.test.rows.tolist() == whole.test.rows.tolist()
    assert set(dataset.train.rows.tolist()) < set(whole.train.rows.tolist())
    assert file not in {dataset.train.file(i) for i in range(len(dataset.train))}
    assert dataset.fingerprint != whole.fingerprint
    assert "Left out as asked: 3 images." in dataset.notes
    assert load(tmp_path, exclude=[]).fingerprint == whole.fingerprint


def test_what_cannot_be_excluded(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 10, "b": 10})
    whole = load(tmp_path)
    with pytest.raises(DataError, match=r"no image 20, c/1\.png to exclude"):
        load(tmp_path, exclude=[20, "c/1.png"])
    with pytest.raises(DataError, match="without the excluded images, has too few images of a"):
        load(tmp_path, exclude=whole.train.rows[whole.train.labels == 0].tolist())
    with pytest.raises(DataError, match="no val images left"):
        load(tmp_path, exclude=whole.val.rows.tolist())
    with pytest.raises(DataError, match="the list belongs to other data"):
        load(tmp_path, exclude=[Listed("a/0003.png", label="b")])


def test_test_images_are_excluded_on_explicit_wish_alone(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 10, "b": 10})
    whole = load(tmp_path)
    file = whole.test.file(0)
    with pytest.raises(DataError, match="in the test split"):
        load(tmp_path, exclude=[file])
    dataset = load(tmp_path, exclude=[Listed(file, split="test")])
    assert len(dataset.test) == len(whole.test) - 1
    assert any("1 of them were test images" in note for note in dataset.notes)


def test_fingerprints_tell_data_apart(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
    labels = np.arange(12) % 2
    other_pixels, other_labels = images.copy(), labels.copy()
    other_pixels[3, 1, 1] ^= 1
    other_labels[[0, 1]] = [1, 0]
    prints = []
    for name, x, y in (
        ("a", images, labels),
        ("b", images, labels),
        ("c", other_pixels, labels),
        ("d", images, other_labels),
        ("e", images, np.array(["x", "y"])[labels]),
    ):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
        prints.append(load(tmp_path / f"{name}.npz").fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_an_unwritable_cache_is_noted(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    dataset = load("digits", cache_dir=tmp_path / "taken" / "below")
    assert any("cannot be written to" in note for note in dataset.notes)


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"test_fraction": 0.0},
        {"test_fraction": 1.0},
        {"val_fraction": 1.5},
        {"val_fraction": float("nan")},
        {"image_size": 0},
        {"image_size": (8, 5000)},
        {"workers": 0},
    ],
)
def test_arguments_out_of_range(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        load("digits", **arguments)


@pytest.mark.parametrize("value", [0, 255])
def test_constant_images(value: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.full((10, 4, 4, 3), value, np.uint8), y=np.arange(10) % 2)
    assert (load(tmp_path / "data.npz").train.images == value).all()


@pytest.mark.slow
@pytest.mark.cifar10
@pytest.mark.skipif(
    not MACHINE_DATA or not (Path(MACHINE_DATA) / "cifar10").is_dir(), reason="no cifar10 below $RUNG_DATA"
)
def test_real_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNG_DATA", str(MACHINE_DATA))
    dataset = load("cifar10")
    assert [len(split) for split in dataset.splits] == [47_500, 2_500, 10_000]
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")
    assert dataset.train.images.shape == (60_000, 32, 32, 3)
    assert (np.bincount(dataset.val.labels) == 250).all()
    assert (np.bincount(dataset.test.labels) == 1000).all()
    assert dataset.unreadable == ()
    mean = dataset.train.take(slice(0, 5000)).mean((0, 1, 2)) / 255
    assert abs(mean - (0.491, 0.482, 0.447)).max() < 0.02
    start = time.perf_counter()
    again = load("cifar10")
    assert time.perf_counter() - start < 1
    assert again.fingerprint == dataset.fingerprint


def test_a_closed_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "cats"
    closed.mkdir()
    is_file, access = Path.is_file, os.access

    def refusing(self: Path) -> bool:
        if self.parent == closed:
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(Path, "is_file", refusing)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
    with pytest.raises(DataError, match="cats may not be read; give yourself the right to"):
        load(tmp_path)
