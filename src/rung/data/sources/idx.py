"""IDX files, as MNIST and Fashion-MNIST have them, gzipped or not.

The format: two zero bytes, a type (8 for unsigned bytes), the number of dimensions, each dimension as a 32-bit
big-endian number, then the values. Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, cast

import numpy as np

from rung.data.cache import Cache
from rung.data.dataset import Labels
from rung.data.labels import Indexed, index_labels
from rung.data.source import SPLITS, Batch, Inspection, Reader, check_number, summarise
from rung.data.sources.searching import find_files
from rung.errors import DataError
from rung.progress import Progress

_NAME = re.compile(r"(train|t10k|test|val)-(images|labels)[-.]idx[1-4]-ubyte(\.gz)?", re.IGNORECASE)
_PART = {"train": "train", "t10k": "test", "test": "test", "val": "val"}
_BYTES = 0x08
_ROWS = 1000
_BATCH_BYTES = 2**26


def recognise(path: Path) -> Reader | None:
    """A reader if ``path`` is a file named like MNIST's, or a folder with them in it or up to two levels down."""
    if path.is_file():
        return recognise(path.parent) if _NAME.fullmatch(path.name) else None
    files = find_files(path, lambda name: _NAME.fullmatch(name) is not None, depth=2)
    if not files:
        return None
    folder = min((file.parent for file in files), key=lambda parent: (len(parent.parts), parent))
    found: dict[str, dict[str, Path]] = {}
    for file in files:
        match = _NAME.fullmatch(file.name)
        if match and file.parent == folder:
            # "…-ubyte" sorts before "…-ubyte.gz": of two copies the plain one is used.
            found.setdefault(_PART[match[1].lower()], {}).setdefault(match[2].lower(), file)
    return Idx(path, found)


class Idx(Reader):
    """Pairs of files by split: ``{"train": {"images": …, "labels": …}, …}``."""

    def __init__(self, path: Path, files: dict[str, dict[str, Path]]) -> None:
        self._path = path
        self._files = files

    def content_key(self, cache: Cache) -> str:
        return cache.content_hash(
            (f"{split} {kind}", self._files[split][kind])
            for split in SPLITS
            if split in self._files
            for kind in sorted(self._files[split])
        )

    def inspect(self, progress: Progress) -> Inspection:
        indexed = self._indexed
        shapes = {split: self._shape(split) for split in indexed.labels}
        if len(set(shapes.values())) > 1:
            told = ", ".join(f"{split} {'×'.join(map(str, shape))}" for split, shape in shapes.items())
            raise DataError(f"{self._path} has images of different sizes in its splits: {told}")
        height, width, channels = shapes["train"]
        summary = summarise(indexed.labels, indexed.classes, [(height, width)], channels)
        return Inspection(indexed.classes, summary, indexed.notes)

    def batches(self) -> Iterator[Batch]:
        for split, labels in self._indexed.labels.items():
            shape = self._shape(split)
            file = self._files[split]["images"]
            rows = max(1, min(_ROWS, _BATCH_BYTES // math.prod(shape)))
            with _values(file) as (stream, _):
                for start in range(0, len(labels), rows):
                    count = min(rows, len(labels) - start)
                    images = np.frombuffer(_exactly(stream, count * math.prod(shape), file), np.uint8)
                    names = [f"{file.name}, image {row}" for row in range(start, start + count)]
                    yield Batch(split, images.reshape(count, *shape), labels[start : start + count], names)
                _at_end(stream, file)

    @cached_property
    def _indexed(self) -> Indexed:
        raw = {}
        for split in SPLITS:
            if split not in self._files:
                continue
            for kind in ("images", "labels"):
                if kind not in self._files[split]:
                    raise DataError(f"{self._path} has no file with the {kind} of the {split} split")
            images, file = self._files[split]["images"], self._files[split]["labels"]
            with _values(images) as (_, dimensions):
                count = dimensions[0]
            check_number(count, f"{images}")
            with _values(file) as (stream, dimensions):
                if len(dimensions) != 1:
                    raise DataError(f"{file} should hold labels, but has {len(dimensions)} dimensions")
                # Before they are read: a few gzipped bytes may hold, and a header may claim, any number.
                if dimensions[0] != count:
                    raise DataError(
                        f"{self._path} has {count:,} images but {dimensions[0]:,} labels in its {split} split"
                    )
                values: Labels = np.frombuffer(_exactly(stream, count, file), np.uint8).astype(np.int64)
                _at_end(stream, file)
            raw[split] = values
        return index_labels(raw, str(self._path))

    def _shape(self, split: str) -> tuple[int, int, int]:
        file = self._files[split]["images"]
        with _values(file) as (_, dimensions):
            shape = (*dimensions[1:], 1) if len(dimensions) == 3 else dimensions[1:]
            if len(shape) != 3 or shape[2] not in (1, 3) or not 0 < shape[0] * shape[1] <= 2**24:
                raise DataError(f"{file} should hold images, but has the dimensions {dimensions}")
            return shape[0], shape[1], shape[2]


@contextmanager
def _values(file: Path) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
    """The file, opened behind its header, and its dimensions."""
    try:
        with file.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw) if zipped else raw)
            zero, kind, count = struct.unpack(">HBB", _exactly(stream, 4, file))
            if zero != 0 or kind != _BYTES or not 1 <= count <= 4:
                raise DataError(f"{file} is not an IDX file of unsigned bytes; get it again")
            yield stream, struct.unpack(f">{count}I", _exactly(stream, 4 * count, file))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read ({' '.join(str(error).split())}); get it again") from error


def _exactly(stream: IO[bytes], size: int, file: Path) -> bytearray:
    content = bytearray()
    # A damaged header may claim any size; what is reserved is bounded by what is there.
    while len(content) < size:
        more = stream.read(min(size - len(content), 2**24))
        if not more:
            raise DataError(f"{file} ends before its {size:,} bytes are complete: it is incomplete; get it again")
        content += more
    return content


def _at_end(stream: IO[bytes], file: Path) -> None:
    if stream.read(1):
        raise DataError(f"{file} is longer than its header says: it is damaged; get it again")
