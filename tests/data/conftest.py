"""Every test has a cache of its own, and finds no data of the machine's."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RUNG_CACHE", str(folder))
    monkeypatch.delenv("RUNG_DATA", raising=False)
    return folder


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Makes a picture that depends on a number, so that images can be told apart after they were decoded."""

    def make(number: int = 0, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
        height, width = size
        values = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        return Image.fromarray(values).convert(mode)

    return make


@pytest.fixture
def encoded(picture: Callable[..., Image.Image]) -> Callable[..., bytes]:
    """The same as the bytes of a file."""

    def make(number: int = 0, size: tuple[int, int] = (12, 10), mode: str = "RGB", form: str = "PNG") -> bytes:
        content = io.BytesIO()
        picture(number, size, mode).save(content, form)
        return content.getvalue()

    return make


@pytest.fixture
def class_folders(encoded: Callable[..., bytes]) -> Callable[..., Path]:
    """Fills a folder with ``counts`` images a class."""

    def make(root: Path, counts: dict[str, int], **options: object) -> Path:
        for index, (name, count) in enumerate(counts.items()):
            folder = root / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (folder / f"{number:04}.png").write_bytes(encoded(1000 * index + number, **options))
        return root

    return make
