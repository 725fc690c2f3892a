"""``.npz`` files with ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test`` (and ``x_val``, ``y_val``).

Images are (N, H, W), (N, H, W, C) or (N, C, H, W), as bytes or as numbers from 0 to 1 or 0 to 255. Labels are whole
numbers, text or one-hot rows. Nothing is unpickled. Arrays are read a piece at a time, so an archive may be larger
than the memory.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from rung.data.arrays import Layout, check_pixel_types, find_layout, find_scale, pixel_range, to_images
from rung.data.cache import Cache
from rung.data.labels import Indexed, few, index_labels
from rung.data.source import SPLITS, Batch, Inspection, Reader, check_number, summarise
from rung.errors import DataError
from rung.progress import Progress

Array = npt.NDArray[Any]

# By split, the names of images and labels; case does not matter.
_NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("x_train", "y_train"),
        ("train_images", "train_labels"),
        ("x", "y"),
        ("images", "labels"),
        ("data", "labels"),
        ("data", "target"),
    ),
    "val": (("x_val", "y_val"), ("x_valid", "y_valid"), ("x_validation", "y_validation"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
_CLASS_NAMES = ("classes", "class_names", "target_names", "label_names")
_CHUNK_BYTES = 2**23
_LABEL_BYTES_MOST = 2**31
_FORTRAN_BYTES_MOST = 2**31


def recognise(path: Path) -> Reader | None:
    """A reader if ``path`` is an ``.npz`` file, or a folder with exactly one."""
    if path.is_file():
        return Npz(path) if path.suffix.lower() == ".npz" else None
    inside = [entry for entry in path.iterdir() if entry.suffix.lower() == ".npz" and not entry.name.startswith(".")]
    return Npz(inside[0]) if len(inside) == 1 and inside[0].is_file() else None


@dataclass(frozen=True)
class _Stored:
    """An array in the archive that has not been read."""

    member: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def item_bytes(self) -> int:
        """Bytes of one entry along the first axis."""
        return self.dtype.itemsize * math.prod(self.shape[1:])


class Npz(Reader):
    """One archive."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def content_key(self, cache: Cache) -> str:
        return cache.content_hash([("npz", self._path)])

    def inspect(self, progress: Progress) -> Inspection:
        indexed = self._indexed
        layouts = {split: self._layout(split) for split in indexed.labels}
        if len({(layout.height, layout.width) for layout in layouts.values()}) > 1:
            told = ", ".join(f"{split} {layout.height}×{layout.width}" for split, layout in layouts.items())
            raise DataError(f"{self._path} has images of different sizes in its splits: {told}")
        self._scale  # noqa: B018 - refuses unusable pixels now rather than while decoding.
        channels = max(1 if layout.channels == 1 else 3 for layout in layouts.values())
        first = layouts["train"]
        summary = summarise(indexed.labels, indexed.classes, [(first.height, first.width)], channels)
        return Inspection(indexed.classes, summary, indexed.notes)

    def batches(self) -> Iterator[Batch]:
        for split, labels in self._indexed.labels.items():
            layout = self._layout(split)
            stored = self._pairs[split][0]
            start = 0
            for values in self._chunks(stored):
                images = to_images(values, layout, self._scale)
                rows = range(start, start + len(images))
                names = [f"{stored.member}, image {row}" for row in rows]
                yield Batch(split, images, labels[start : start + len(images)], names)
                start += len(images)

    # --- what is in the archive ----------------------------------------------------------------------

    @cached_property
    def _arrays(self) -> dict[str, _Stored]:
        """By name in lower case, without ``.npy``."""
        with self._opened() as archive:
            arrays = {}
            for info in archive.infolist():
                if not info.filename.lower().endswith(".npy"):
                    continue
                with archive.open(info) as stream:
                    arrays[info.filename[:-4].lower()] = self._header(stream, info)
            return arrays

    def _header(self, stream: IO[bytes], info: zipfile.ZipInfo) -> _Stored:
        where = f"{info.filename} in {self._path}"
        try:
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = read(stream)
        except Exception as error:  # NumPy parses the header as Python source, which can fail in any way.
            raise DataError(f"{where} is not an array that NumPy wrote; save it again") from error
        if dtype.hasobject:
            raise DataError(f"{where} holds Python objects, which are not read; save it as numbers or text")
        if any(n < 0 for n in shape) or dtype.itemsize * math.prod(shape) != info.file_size - stream.tell():
            raise DataError(f"{where} is damaged: its size does not fit its shape {shape}; save it again")
        return _Stored(info.filename, dtype, shape, fortran)

    @cached_property
    def _pairs(self) -> dict[str, tuple[_Stored, _Stored]]:
        """Images and labels by split."""
        pairs = {}
        for split in SPLITS:
            for x, y in _NAMES[split]:
                if x in self._arrays and y in self._arrays:
                    pairs[split] = (self._arrays[x], self._arrays[y])
                    break
        if "train" not in pairs:
            raise DataError(
                f"{self._path} has the arrays {few(self._arrays, 10) or '(none)'}; "
                "name them x and y, or x_train, y_train, x_test and y_test"
            )
        for split, (images, labels) in pairs.items():
            found = labels.shape[0] if labels.shape else 0
            if not images.shape or images.shape[0] != found:
                count = images.shape[0] if images.shape else 0
                raise DataError(f"{self._path} has {count:,} images but {found:,} labels in its {split} split")
            check_number(found, str(self._path))
        return pairs

    @cached_property
    def _indexed(self) -> Indexed:
        raw = {split: self._labels(split, labels) for split, (_, labels) in self._pairs.items()}
        names = next((self._text(self._arrays[name]) for name in _CLASS_NAMES if name in self._arrays), None)
        return index_labels(raw, str(self._path), names)

    def _labels(self, split: str, stored: _Stored) -> Array:
        if stored.dtype.itemsize * math.prod(stored.shape) > _LABEL_BYTES_MOST:
            raise DataError(f"{self._path} has labels of more than 2 GB in its {split} split; store class numbers")
        values = self._whole(stored)
        if values.ndim == 2 and values.shape[1] == 1:
            return values[:, 0]
        if values.ndim == 2 and values.dtype.kind in "biuf":
            if not (((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all()):
                raise DataError(
                    f"{self._path} has rows of labels in its {split} split that are not one-hot; "
                    "rung learns one class an image"
                )
            positions: Array = np.argmax(values, axis=1)
            return positions
        if values.ndim != 1:
            raise DataError(
                f"{self._path} has labels of the shape {values.shape} in its {split} split; it must be (N,) or one-hot"
            )
        return values

    def _text(self, stored: _Stored) -> tuple[str, ...] | None:
        if stored.dtype.kind not in "US" or len(stored.shape) != 1 or stored.item_bytes * stored.shape[0] > 2**24:
            return None
        listed = self._whole(stored).tolist()
        names = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in listed]
        return tuple(names) if names and len(set(names)) == len(names) else None

    def _layout(self, split: str) -> Layout:
        return find_layout(self._pairs[split][0].shape, str(self._path))

    # --- pixels --------------------------------------------------------------------------------------

    @cached_property
    def _scale(self) -> float:
        """What pixels are multiplied by to run from 0 to 255; decided by the range over all splits."""
        used = [self._pairs[split][0] for split in self._indexed.labels]
        dtypes = [stored.dtype for stored in used]
        check_pixel_types(dtypes, str(self._path))
        if all(dtype == np.uint8 for dtype in dtypes):
            return 1.0
        ranges = [pixel_range(self._chunks(stored), stored.member, str(self._path)) for stored in used]
        least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
        return find_scale(dtypes, least, most, str(self._path))

    # --- reading -------------------------------------------------------------------------------------

    def _chunks(self, stored: _Stored) -> Iterator[Array]:
        """The array in pieces along its first axis; each but the last has the same length."""
        if stored.shape[0] == 0:
            return
        rows = max(1, _CHUNK_BYTES // max(1, stored.item_bytes))
        if stored.fortran and len(stored.shape) > 1:
            # Its images lie scattered over the whole of it.
            if stored.item_bytes * stored.shape[0] > _FORTRAN_BYTES_MOST:
                raise DataError(
                    f"{stored.member} in {self._path} is in Fortran's order and has more than "
                    f"{_FORTRAN_BYTES_MOST / 2**30:g} GB; save numpy.ascontiguousarray of it"
                )
            whole = self._whole(stored)
            yield from (whole[start : start + rows] for start in range(0, len(whole), rows))
            return
        with self._behind_header(stored) as stream:
            for start in range(0, stored.shape[0], rows):
                count = min(rows, stored.shape[0] - start)
                yield self._read(stream, stored, count)

    def _whole(self, stored: _Stored) -> Array:
        count = stored.shape[0] if stored.shape else 1
        with self._behind_header(stored) as stream:
            flat = self._read(stream, stored, count)
        return flat.reshape(stored.shape[::-1]).T if stored.fortran else flat

    def _read(self, stream: IO[bytes], stored: _Stored, count: int) -> Array:
        wanted = count * stored.item_bytes
        content = stream.read(wanted)
        if len(content) != wanted:
            raise DataError(f"{stored.member} in {self._path} is incomplete; save it again")
        return np.frombuffer(content, stored.dtype).reshape(count, *stored.shape[1:])

    @contextmanager
    def _behind_header(self, stored: _Stored) -> Iterator[IO[bytes]]:
        with self._opened() as archive:
            info = archive.getinfo(stored.member)
            with archive.open(info) as stream:
                self._header(stream, info)
                yield stream

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        # Encrypted and exotically compressed members raise RuntimeError and NotImplementedError.
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError, ValueError, KeyError) as error:
            raise DataError(f"{self._path} cannot be read ({' '.join(str(error).split())}); save it again") from error
