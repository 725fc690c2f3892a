"""Folders of class folders with generated pictures, and a finished run on one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rung.pipeline import train
from rung.runs import Run

CLASSES = ("apple", "pear <b>", "梨")


@pytest.fixture(scope="session")
def fill_folder(pictures: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Callable[..., Path]:
    """Fills ``root`` with PNG files of pictures in a folder for each class."""

    def fill(root: Path, each: int = 16, classes: tuple[str, ...] = CLASSES, seed: int = 0, **options: object) -> Path:
        images, labels = pictures(each * len(classes), len(classes), seed=seed, **{"channels": 3, **options})
        for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            folder = root / classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(folder / f"{number:03}.png")
        return root

    return fill


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, fill_folder: Callable[..., Path]) -> Path:
    return fill_folder(tmp_path_factory.mktemp("data") / "fruit", size=(16, 16))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Run:
    """A finished run; tests copy it before they change anything."""
    base = tmp_path_factory.getbasetemp() / "cache"
    base.mkdir(exist_ok=True)
    before = os.environ.get("RUNG_CACHE")
    os.environ["RUNG_CACHE"] = str(base)
    try:
        return train(folder, epochs=4, threads=1, out=tmp_path_factory.mktemp("runs") / "finished")
    finally:
        if before is None:
            del os.environ["RUNG_CACHE"]
        else:
            os.environ["RUNG_CACHE"] = before
