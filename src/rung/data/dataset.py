"""What every later stage receives: labelled images in splits, all of one size.

The pixels stay in a memory map on disk. A split is that map plus the rows that belong to it, so cutting
a validation split copies nothing and a data set of any size costs the memory of one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Some labelled images.

    Attributes:
        name: ``"train"``, ``"val"`` or ``"test"``.
        images: uint8, shape (M, H, W, C) with C 1 (grey) or 3 (RGB); usually a memory map that other
            splits share.
        rows: int64, shape (N,): the rows of ``images`` that belong to this split.
        labels: int64, shape (N,), from 0 to the number of classes - 1; ``labels[i]`` belongs to
            ``images[rows[i]]``.
        files: for every row of ``images`` the file that it came from, where there was one.
    """

    name: str
    images: Images
    rows: npt.NDArray[np.int64]
    labels: Labels
    files: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.labels):
            raise ValueError(f"{len(self.rows)} rows but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: npt.ArrayLike | slice) -> Images:
        """The pixels of the images at ``positions`` (0 to N - 1) of this split: uint8 (n, H, W, C)."""
        rows = self.rows[positions] if isinstance(positions, slice) else self.rows[np.asarray(positions)]
        return self.images[rows]

    def subset(self, positions: npt.ArrayLike, name: str | None = None) -> Split:
        """A split of the images at ``positions`` alone; no pixel is copied."""
        chosen = np.asarray(positions)
        return Split(name or self.name, self.images, self.rows[chosen], self.labels[chosen], self.files)

    def file(self, position: int) -> str | None:
        """The file that the image at ``position`` came from, or None."""
        return None if self.files is None else self.files[int(self.rows[position])]


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read as an image, and why."""

    file: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split for training, choosing and the final report.

    Attributes:
        name: short name for titles, such as ``"cifar10"`` or the folder's name.
        origin: where the images were read from: a path, or a phrase such as "scikit-learn's digits".
        classes: class names; the position is the label.
        train: what the network learns from.
        val: what every choice is made on; cut from the training images.
        test: read once, for the final report.
        fingerprint: hexadecimal SHA-256 of the pixels, labels and classes.
        unreadable: the files that were left out because they could not be read.
        notes: plain sentences about what was done to the data ("the test split was cut from …").
    """

    name: str
    origin: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    fingerprint: str
    unreadable: tuple[Unreadable, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        return int(self.train.images.shape[1]), int(self.train.images.shape[2])

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return int(self.train.images.shape[3])

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        return self.train, self.val, self.test
