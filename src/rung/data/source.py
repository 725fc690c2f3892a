"""What a data set is before a pixel of it is decoded.

A *reader* knows one format: it can say what is there (:meth:`Reader.inspect`) and hand out the images in
batches (:meth:`Reader.batches`). A :class:`Source` is a reader together with what it said, under the name
that the user knows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images, Labels
from rung.errors import DataError
from rung.progress import Progress

if TYPE_CHECKING:
    from rung.data.cache import Cache

SPLITS = ("train", "val", "test")

HEADERS = 4000
"""At most so many image headers are read to learn the sizes in a data set."""

IMAGES_MOST = 2**26
"""At most so many images in a split: a compressed file of a few MB may claim billions, and their labels are held."""

Size = tuple[int, int]


@dataclass(frozen=True)
class DataSummary:
    """What the planner may know before anything is decoded.

    Sizes are (height, width) in pixels, after EXIF rotation. They come from the headers of all images, or
    of a random sample of 4,000 where there are more (``headers_read`` says how many).

    Attributes:
        images: how many images each split of the data has; the keys are those of ``"train"``, ``"val"``
            and ``"test"`` that the data brings along.
        num_classes: how many classes have training images.
        class_counts: training images of each class.
        channels: 1 if every image is grey, otherwise 3.
        uniform_size: the size that all images have, or None if they differ.
        median_size: medians of the heights and of the widths.
        min_size: least height and least width.
        max_size: greatest height and greatest width.
        headers_read: how many images ``channels`` and the sizes come from.
    """

    images: Mapping[str, int]
    num_classes: int
    class_counts: tuple[int, ...]
    channels: int
    uniform_size: Size | None
    median_size: Size
    min_size: Size
    max_size: Size
    headers_read: int

    @property
    def total(self) -> int:
        """Images in all splits together."""
        return sum(self.images.values())


@dataclass(frozen=True)
class Inspection:
    """What a reader found out about its data: everything a :class:`Source` shows."""

    classes: tuple[str, ...]
    summary: DataSummary
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Inspection:
        summary = dict(values["summary"])
        for name in ("uniform_size", "median_size", "min_size", "max_size", "class_counts"):
            if summary[name] is not None:
                summary[name] = tuple(int(value) for value in summary[name])
        return cls(tuple(values["classes"]), DataSummary(**summary), tuple(values["notes"]))


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of one split, in the order of the data.

    Attributes:
        split: ``"train"``, ``"val"`` or ``"test"``.
        images: decoded pixels, uint8 (n, H, W, C); or n encoded images, each the bytes of an image file or
            its path, or None where the data has nothing in that place.
        labels: int64 (n,), positions in the classes of the inspection.
        names: for each image what to call it in a message: its file, or its place in a file.
    """

    split: str
    images: Images | Sequence[bytes | Path | None]
    labels: Labels
    names: Sequence[str]


class Reader(ABC):
    """One data set in one format."""

    has_files: bool = False
    """Whether every image is a file of its own, so that ``Batch.names`` are files a user can open."""

    @abstractmethod
    def content_key(self, cache: Cache) -> str:
        """A string that changes when the images, labels or splits change."""

    @abstractmethod
    def inspect(self, progress: Progress) -> Inspection:
        """Find the classes, the splits and the sizes without decoding the images.

        Raises:
            DataError: the data cannot be used.
        """

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """All images, split by split."""


@dataclass(frozen=True, eq=False)
class Source:
    """A data set that was found and looked at, but not decoded yet.

    Attributes:
        name: short name for titles: ``"cifar10"``, or the name of the folder or file.
        origin: where the images are: a path, or a phrase such as "scikit-learn's digits".
        content_key: hexadecimal SHA-256 that changes when the data changes. For archives, Parquet, npz
            and IDX files it comes from their contents; for folders of images (and for more than 4 GB of
            such files) from the relative path, size and modification time of every file.
        classes: class names; the position is the label.
        summary: numbers of images and their sizes.
        notes: plain sentences about what was found.
        reader: the format's reader.
    """

    name: str
    origin: str
    content_key: str
    classes: tuple[str, ...]
    summary: DataSummary
    notes: tuple[str, ...]
    reader: Reader = field(repr=False)


def check_number(images: int, where: str) -> None:
    """Refuse more images than :data:`IMAGES_MOST`.

    Raises:
        DataError: there are more.
    """
    if images > IMAGES_MOST:
        raise DataError(f"{where} claims {images:,} images; at most {IMAGES_MOST:,} can be read")


def summarise(labels: Mapping[str, Labels], classes: Sequence[str], sizes: npt.ArrayLike, channels: int) -> DataSummary:
    """The summary of splits with these labels, whose images have these ``sizes``: int (n, 2), n ≥ 1."""
    measured = np.asarray(sizes, np.int64).reshape(-1, 2)
    least, most, middle = measured.min(0), measured.max(0), np.median(measured, axis=0)
    counts = np.bincount(labels["train"], minlength=len(classes))
    return DataSummary(
        images={split: len(labels[split]) for split in SPLITS if split in labels},
        num_classes=len(classes),
        class_counts=tuple(int(count) for count in counts),
        channels=channels,
        uniform_size=(int(least[0]), int(least[1])) if (least == most).all() else None,
        median_size=(int(middle[0]), int(middle[1])),
        min_size=(int(least[0]), int(least[1])),
        max_size=(int(most[0]), int(most[1])),
        headers_read=len(measured),
    )
