"""What tests of several folders share: small data that can be learnt in a moment, and a cache of the tests' own."""

from __future__ import annotations

import os

# Read when torch is imported, here and in the commands that tests start: small networks gain nothing from more.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rung.data.dataset import Dataset, Split
from rung.runs import Run


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tests find no data of the machine's, and share what they decode."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("RUNG_CACHE", str(folder))
    monkeypatch.delenv("RUNG_DATA", raising=False)
    return folder


@pytest.fixture(scope="session")
def pictures() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Makes uint8 images (N, H, W, C) of classes that differ by a coarse pattern under noise, and their labels."""

    def make(
        images: int = 120,
        classes: int = 3,
        size: tuple[int, int] = (8, 8),
        channels: int = 1,
        noise: float = 30.0,
        seed: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        coarse = np.random.default_rng(1).uniform(60, 195, (classes, 4, 4, channels))
        rows, columns = (np.arange(side) * 4 // side for side in size)
        patterns = coarse[:, rows][:, :, columns]
        random = np.random.default_rng((seed, 2))
        labels = random.permutation(np.arange(images) % classes)
        pixels = patterns[labels] + random.normal(0, noise, (images, *size, channels))
        return pixels.round().clip(0, 255).astype(np.uint8), labels.astype(np.int64)

    return make


@pytest.fixture(scope="session")
def make_dataset(pictures: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Callable[..., Dataset]:
    """A data set of ``images`` training images and a third as many each for validation and test."""

    def make(images: int = 120, classes: int = 3, **options: object) -> Dataset:
        part = max(classes, images // 3)
        pixels, labels = pictures(images + 2 * part, classes, **options)
        bounds = {"train": (0, images), "val": (images, images + part), "test": (images + part, len(labels))}
        splits = [Split(name, pixels, np.arange(*ends), labels[slice(*ends)]) for name, ends in bounds.items()]
        return Dataset("pictures", "the tests", tuple(f"class {k}" for k in range(classes)), *splits, "ab" * 32)

    return make


@pytest.fixture(scope="session")
def fruit(tmp_path_factory: pytest.TempPathFactory, pictures: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Path:
    """A folder of class folders, 48 colour images of 16×16 pixels."""
    root = tmp_path_factory.mktemp("data") / "fruit"
    names = ("apple", "pear <b>", "梨")
    images, labels = pictures(48, 3, size=(16, 16), channels=3)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, fruit: Path) -> Run:
    """A finished run, trained and evaluated in float32; tests copy it before they change anything."""
    from rung.pipeline import train

    base = tmp_path_factory.getbasetemp() / "cache"
    base.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNG_CACHE", str(base))
        return train(fruit, epochs=4, threads=1, precision="float32", out=tmp_path_factory.mktemp("runs") / "trained")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of a finished run."""
    return Run(shutil.copytree(trained.path, tmp_path / "run"))
