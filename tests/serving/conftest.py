"""A small trained run, a model without arithmetic, and servers in threads of the tests' own process."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rung.pipeline import train
from rung.runs import Run
from rung.serving.limits import Limits
from rung.serving.server import address_of, prepare

CLASSES = ("apple", "<b>pear", "梨")
SIDE = 12


class Shades:
    """A model that tells apart how bright an image is, with a pause if wanted."""

    name = "shades"
    classes = ("dark", "medium", "bright")
    image_size = (SIDE, SIDE)
    channels = 3
    mean = (120.0, 120.0, 120.0)
    std = (60.0, 60.0, 60.0)

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.batches: list[int] = []

    def rows(self, pixels: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        self.batches.append(len(pixels))
        light = pixels.reshape(len(pixels), -1).mean(1, keepdims=True) / 255
        odds = -30 * (light - np.array([[0.1, 0.5, 0.9]])) ** 2
        rows = np.exp(odds)
        return (rows / rows.sum(1, keepdims=True)).astype(np.float32)


def png(shade: int = 255, size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    """The content of a PNG file in one shade of grey."""
    sink = io.BytesIO()
    Image.new("RGB", size, (shade,) * 3).save(sink, "PNG")
    return sink.getvalue()


@contextlib.contextmanager
def serving(run: Run, **options: Any) -> Iterator[str]:
    """The address of a server that runs in a thread."""
    server, listener = prepare(run, host="127.0.0.1", port=0, **options)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address_of(listener, "127.0.0.1")
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory, pictures: Callable[..., Any]) -> Path:
    """A folder of class folders."""
    root = tmp_path_factory.mktemp("data") / "secret-place" / "fruit"
    images, labels = pictures(90, len(CLASSES), (SIDE, SIDE), 3)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = root / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return root


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Run:
    """A finished run on the photographs."""
    base = tmp_path_factory.getbasetemp() / "cache"
    base.mkdir(exist_ok=True)
    before = os.environ.get("RUNG_CACHE")
    os.environ["RUNG_CACHE"] = str(base)
    try:
        return train(photographs, epochs=3, threads=1, out=tmp_path_factory.mktemp("runs") / "secret-run")
    finally:
        if before is None:
            del os.environ["RUNG_CACHE"]
        else:
            os.environ["RUNG_CACHE"] = before


@pytest.fixture
def bare(tmp_path: Path) -> Run:
    """A run folder that is only a description, for models that are not its own."""
    return Run.create(tmp_path / "run", "shades", {"status": "finished", "data": {"name": "shades"}})


@pytest.fixture
def shades(bare: Run) -> Callable[..., contextlib.AbstractContextManager[str]]:
    """Serves :class:`Shades`; takes limits and other options of the server."""

    def start(model: Shades | None = None, limits: dict[str, Any] | None = None, **options: Any) -> Any:
        return serving(bare, predictor=model or Shades(), limits=Limits(**(limits or {})), examples=False, **options)

    return start
