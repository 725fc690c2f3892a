"""scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels that come with the package.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rung.data.cache import Cache
from rung.data.dataset import Images, Labels
from rung.data.source import Batch, Inspection, Reader, summarise
from rung.progress import Progress

_DARKEST = 16


class Digits(Reader):
    """The embedded data set; needs no file of the user's and no network."""

    def content_key(self, cache: Cache) -> str:
        return "scikit-learn-digits"

    def inspect(self, progress: Progress) -> Inspection:
        images, labels = self._data
        classes = tuple(str(digit) for digit in range(10))
        return Inspection(classes, summarise({"train": labels}, classes, [images.shape[1:3]], channels=1))

    def batches(self) -> Iterator[Batch]:
        images, labels = self._data
        yield Batch("train", images, labels, [f"digit {row}" for row in range(len(labels))])

    @cached_property
    def _data(self) -> tuple[Images, Labels]:
        """uint8 (1797, 8, 8, 1), 0 to 255, and int64 (1797,)."""
        table = _table()
        pixels = np.round(table[:, :-1] * (255 / _DARKEST)).astype(np.uint8)
        return pixels.reshape(-1, 8, 8, 1), table[:, -1].astype(np.int64)


def _table() -> npt.NDArray[np.float64]:
    """float64 (1797, 65): 64 pixels from 0 to 16, then the digit."""
    # Importing sklearn.datasets takes a second; the file that it would read takes a hundredth of one.
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(io.BytesIO(gzip.decompress(file.read_bytes())), delimiter=",")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.column_stack([pixels, labels])
