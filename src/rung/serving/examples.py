"""The images that a model was trained and tested on, where they are still at hand: to try, and to compare with."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Dataset, Images, Split
from rung.errors import RungError
from rung.runs import MODEL, NEIGHBOURS, Run

Floats = npt.NDArray[np.float32]
Rows = Callable[[Images], Awaitable[Floats]]

COMPARED = 10_000  # training images in the index, at most: a few MB, and some seconds to build
AT_ONCE = 64


class Examples:
    """A run's data, found in a thread of its own, so that a server need not wait for it.

    ``state`` is ``"loading"``, ``"ready"`` or ``"gone"``; ``data`` is the data set once it is ready.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.state = "loading"
        self.data: Dataset | None = None
        self._thread = threading.Thread(target=self._load, name="examples", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until the data is there or known to be gone, but no longer than ``seconds``."""
        self._thread.join(seconds)

    def _load(self) -> None:
        from rung.pipeline.afterwards import dataset_of
        from rung.pipeline.settings import settings_of

        try:
            if not at_hand(settings_of(self._run).data):
                self.state = "gone"
                return
            self.data = dataset_of(self._run)
            self.state = "ready"
        except (RungError, OSError):
            self.state = "gone"

    def some(self, count: int, seed: int) -> list[int]:
        """Positions of test images drawn at random, one from each class in turn; none while there is no data."""
        if self.data is None:
            return []
        labels = self.data.test.labels
        order = np.random.default_rng(seed).permutation(len(labels))
        turns = np.empty(len(labels), np.int64)
        for label in range(len(self.data.classes)):
            mine = labels[order] == label
            turns[mine] = np.arange(mine.sum())
        return [int(position) for position in order[np.argsort(turns, kind="stable")][:count]]


def at_hand(data: str) -> bool:
    """Whether :func:`rung.data.find_source` would find ``data`` without downloading it, which a server should not."""
    from rung.data.cache import Cache
    from rung.data.names import KNOWN

    known = KNOWN.get(data)
    root = os.environ.get("RUNG_DATA")
    if known is None or (root and (Path(root) / data).exists()):
        return True
    folders = Cache().places("downloads", data) if known.downloads else [Path()]
    return any(all((folder / one.file).is_file() for one in known.downloads) for folder in folders)


@dataclass(frozen=True)
class Neighbour:
    """A training image that is like another one: its position in the split, its label, the cosine of their features."""

    position: int
    label: int
    likeness: float


class Neighbours:
    """The most similar training images by what the model makes of them.

    A row of features for each of at most :data:`COMPARED` training images, drawn with a fixed seed; built once and kept
    in the run folder. A model that gives no features is asked for probabilities and for a look at the pixels instead.

    Args:
        run: where the index is kept.
        classes: how many of the numbers in a row are probabilities.
        rows: what the model makes of images, see :meth:`rung.serving.predictor.Predictor.rows`.
    """

    def __init__(self, run: Run, classes: int, rows: Rows) -> None:
        self._run = run
        self._classes = classes
        self._rows = rows
        self._positions: npt.NDArray[np.int64] | None = None
        self._features: Floats | None = None
        self.done = 0.0
        """Share of the index that is built."""

    @property
    def ready(self) -> bool:
        return self._features is not None

    async def build(self, data: Dataset) -> None:
        """Make the index, or take the one that is kept if it belongs to this model and this data."""
        split = data.train
        key = self._key(data)
        kept = self._kept(key, len(split))
        if kept is None:
            random = np.random.default_rng(0)
            positions = np.sort(random.permutation(len(split))[:COMPARED])
            parts = []
            for start in range(0, len(positions), AT_ONCE):
                chosen = split.take(positions[start : start + AT_ONCE])
                parts.append(self.describe(chosen, await self._rows(chosen)).astype(np.float16))
                self.done = min(1.0, (start + AT_ONCE) / len(positions))
            features = np.concatenate(parts)
            self._keep(key, positions, features)
        else:
            positions, features = kept
        self._positions, self._features, self.done = positions, features.astype(np.float32), 1.0

    def describe(self, pixels: Images, rows: Floats) -> Floats:
        """Vectors of length 1, float32 (N, D), whose products are high for images that are alike."""
        features = rows[:, self._classes :]
        if features.shape[1] == 0:
            features = np.hstack([np.sqrt(rows), _small(pixels)])
        return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9), np.float32)

    def nearest(self, vector: Floats, split: Split, count: int) -> list[Neighbour]:
        """The ``count`` training images that are most alike, the most alike first."""
        assert self._features is not None and self._positions is not None
        likeness = self._features @ vector
        best = np.argsort(-likeness, kind="stable")[:count]
        return [
            Neighbour(int(self._positions[row]), int(split.labels[self._positions[row]]), float(likeness[row]))
            for row in best
        ]

    def _key(self, data: Dataset) -> str:
        """Tells the index of these weights and this data from any other."""
        return hashlib.sha256(f"1 {COMPARED} {data.fingerprint}".encode() + self._run.read_bytes(MODEL)).hexdigest()

    def _kept(self, key: str, images: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]] | None:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            content = load(self._run.read_bytes(NEIGHBOURS))
            if content["key"].tobytes().decode("ascii", "replace") != key:
                return None
            positions, features = content["positions"], content["features"]
        except (OSError, RungError, SafetensorError, ValueError, KeyError):
            return None
        fits = positions.ndim == 1 and features.ndim == 2 and len(positions) == len(features) > 0
        if not fits or positions.dtype != np.int64 or features.dtype != np.float16:
            return None
        return (positions, features) if positions.min() >= 0 and positions.max() < images else None

    def _keep(self, key: str, positions: npt.NDArray[np.int64], features: npt.NDArray[np.float16]) -> None:
        from safetensors.numpy import save

        named: dict[str, npt.NDArray[Any]] = {
            "key": np.frombuffer(key.encode(), np.uint8),
            "positions": positions,
            "features": features,
        }
        # A folder that cannot be written to costs the next start some seconds.
        with contextlib.suppress(RungError):
            self._run.write_bytes(NEIGHBOURS, save(named))


def _small(pixels: Images, side: int = 4) -> Floats:
    """float32 (N, D): each image averaged to about ``side`` × ``side``, its mean taken away, of length about 1."""
    count, height, width, _ = pixels.shape
    rows, columns = max(1, height // side), max(1, width // side)
    cut = pixels[:, : height // rows * rows, : width // columns * columns].astype(np.float32)
    blocks = cut.reshape(count, height // rows, rows, width // columns, columns, -1).mean((2, 4)).reshape(count, -1)
    blocks -= blocks.mean(1, keepdims=True)
    return np.asarray(blocks / np.maximum(np.linalg.norm(blocks, axis=1, keepdims=True), 1.0), np.float32)
