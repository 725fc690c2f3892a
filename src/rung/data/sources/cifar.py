"""CIFAR-10 and CIFAR-100 as their authors publish them: binary or Python files, archived or unpacked.

Of CIFAR-100 the 100 fine classes are used. A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
2009; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.cache import Cache
from rung.data.dataset import Images
from rung.data.labels import Indexed, few, index_labels
from rung.data.restricted_pickle import RefusedPickle, load_dictionary
from rung.data.source import Batch, Inspection, Reader, summarise
from rung.errors import DataError
from rung.progress import Progress

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_RECORDS = 1000
_MEMBERS_MOST = 10_000
_FILE_MOST = 256 * 2**20
_ARCHIVE_MOST = 2**30
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class _Layout:
    """The files of one edition. ``label_bytes`` is how many bytes stand before the pixels of a binary record; the
    last of them is the (fine) label. It is 0 for pickles, whose labels are under ``label_key``."""

    train: tuple[str, ...]
    test: str
    names: str
    label_bytes: int
    label_key: str = ""
    names_key: str = ""

    @property
    def images(self) -> tuple[str, ...]:
        return (*self.train, self.test)


_LAYOUTS = (
    _Layout(tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt", 1),
    _Layout(("train.bin",), "test.bin", "fine_label_names.txt", 2),
    _Layout(tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta", 0, "labels", "label_names"),
    _Layout(("train",), "test", "meta", 0, "fine_labels", "fine_label_names"),
)


def recognise(path: Path) -> Reader | None:
    """A reader if ``path`` is a CIFAR archive or unpacked folder, or a folder that holds one of them."""
    if path.is_file():
        return Cifar(path, None) if path.name.lower().endswith(_ARCHIVES) else None
    inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    for folder in (path, *(entry for entry in inside if entry.is_dir())):
        layout = _layout_of(folder)
        if layout is not None:
            return Cifar(folder, layout)
    archives = [e for e in inside if e.name.lower().startswith("cifar") and e.name.lower().endswith(_ARCHIVES)]
    return Cifar(archives[0], None) if archives and archives[0].is_file() else None


def _layout_of(folder: Path) -> _Layout | None:
    for layout in _LAYOUTS:
        # The three names of CIFAR-100's Python files are ordinary words, so all of them must be there.
        needed = (*layout.images, layout.names) if layout.names == "meta" else layout.images[:1]
        if all((folder / name).is_file() for name in needed):
            return layout
    return None


class Cifar(Reader):
    """One of the four editions: an unpacked folder with its layout, or an archive (layout None)."""

    def __init__(self, path: Path, layout: _Layout | None) -> None:
        self._path = path
        self._given = layout

    def content_key(self, cache: Cache) -> str:
        if self._given is None:
            return cache.content_hash([("archive", self._path)])
        names = (*self._given.images, self._given.names)
        return cache.content_hash((name, self._path / name) for name in names if (self._path / name).exists())

    def inspect(self, progress: Progress) -> Inspection:
        indexed = self._indexed
        summary = summarise(indexed.labels, indexed.classes, [(_SIDE, _SIDE)], channels=3)
        return Inspection(indexed.classes, summary, indexed.notes)

    def batches(self) -> Iterator[Batch]:
        for split, labels in self._indexed.labels.items():
            done = 0
            for file in self._files(split):
                records = self._pixels(file)
                for start in range(0, len(records), _RECORDS):
                    flat = records[start : start + _RECORDS]
                    images = np.ascontiguousarray(flat.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))
                    rows = range(start, start + len(images))
                    names = [f"{file.name}, image {row}" for row in rows]
                    yield Batch(split, images, labels[done : done + len(images)], names)
                    done += len(images)

    @cached_property
    def _unpacked(self) -> tuple[Path, _Layout]:
        """The folder of the files and its layout; an archive is unpacked into a temporary one."""
        if self._given is not None:
            return self._path, self._given
        # Removed when this reader is, at the latest when the process ends.
        folder = Path(tempfile.mkdtemp(prefix="rung-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        unpack(self._path, folder)
        layout = _layout_of(folder)
        if layout is None:
            raise DataError(
                f"{self._path} is not one of the official CIFAR archives; unpack it and give the folder instead"
            )
        return folder, layout

    def _files(self, split: str) -> list[Path]:
        folder, layout = self._unpacked
        names = layout.train if split == "train" else (layout.test,)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise DataError(f"{self._path} lacks {few(missing)}; unpack the archive again")
        return [folder / name for name in names]

    @cached_property
    def _indexed(self) -> Indexed:
        raw = {
            split: np.concatenate([self._labels(file) for file in self._files(split)]) for split in ("train", "test")
        }
        return index_labels(raw, str(self._path), self._class_names())

    def _labels(self, file: Path) -> npt.NDArray[Any]:
        _, layout = self._unpacked
        if layout.label_bytes:
            return np.array(self._records(file, layout)[:, layout.label_bytes - 1], np.int64)
        labels = self._pickled(file).get(layout.label_key)
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise DataError(f"{file.name} in {self._path} has no list of whole numbers as {layout.label_key!r}")
        count = len(self._pixels(file))
        if len(labels) != count:
            raise DataError(f"{file.name} in {self._path} has {count:,} images but {len(labels):,} labels")
        return np.array([min(max(label, -(2**31)), 2**31) for label in labels], np.int64)

    def _pixels(self, file: Path) -> Images:
        """uint8 (n, 3072): the red plane, the green one, the blue one."""
        _, layout = self._unpacked
        if layout.label_bytes:
            return self._records(file, layout)[:, layout.label_bytes :]
        pixels = self._pickled(file).get("data")
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
            raise DataError(f"{file.name} in {self._path} has no array of {_PIXELS} bytes an image as 'data'")
        return pixels

    def _records(self, file: Path, layout: _Layout) -> Images:
        width, size = layout.label_bytes + _PIXELS, file.stat().st_size
        if size == 0 or size % width:
            raise DataError(
                f"{file.name} in {self._path} has {size:,} bytes, which is not a multiple of {width}: it is damaged or "
                "incomplete; get it again"
            )
        return np.memmap(file, np.uint8, "r").reshape(-1, width)

    def _pickled(self, file: Path) -> dict[str, Any]:
        if file.stat().st_size > _FILE_MOST:
            raise DataError(f"{file.name} in {self._path} is larger than any file of CIFAR; it is not read")
        try:
            return load_dictionary(file.read_bytes())
        except RefusedPickle as error:
            raise DataError(f"{file.name} in {self._path} is not read: {error}; get the official archive") from error

    def _class_names(self) -> tuple[str, ...] | None:
        folder, layout = self._unpacked
        file = folder / layout.names
        if not file.is_file():
            return None
        if layout.label_bytes:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            names = [line.strip() for line in lines if line.strip()]
        else:
            found = self._pickled(file).get(layout.names_key)
            listed = found if isinstance(found, list) else []
            names = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in listed]
        return tuple(names) if names and len(set(names)) == len(names) else None


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of CIFAR that are in a tar archive into ``folder``, under their bare names.

    Members are read one after the other and copied as bytes, so no name, link or device in the archive has any effect
    outside ``folder``.

    Raises:
        DataError: the archive is damaged, or larger than CIFAR can be.
    """
    wanted = {name for layout in _LAYOUTS for name in (*layout.images, layout.names)}
    total = 0
    try:
        with tarfile.open(archive, "r|*") as tar:
            for number, member in enumerate(tar):
                if number >= _MEMBERS_MOST:
                    raise DataError(f"{archive} has more than {_MEMBERS_MOST:,} files; it is no CIFAR archive")
                # What is passed over is decompressed as well.
                total += member.size
                if total > _ARCHIVE_MOST:
                    raise DataError(f"{archive} holds more than {_ARCHIVE_MOST:,} bytes; it is no CIFAR archive")
                name = member.name.rsplit("/", 1)[-1]
                if not member.isreg() or member.issparse() or name not in wanted or (folder / name).exists():
                    continue
                if member.size > _FILE_MOST:
                    raise DataError(
                        f"{archive} holds {name} with {member.size:,} bytes, more than any file of CIFAR has"
                    )
                content = tar.extractfile(member)
                assert content is not None
                with content, (folder / name).open("wb") as target:
                    shutil.copyfileobj(content, target, 2**20)
    except DataError:
        raise
    except Exception as error:  # Damaged archives make tarfile fail in any way, TypeError included.
        raise DataError(f"{archive} cannot be unpacked ({' '.join(str(error).split())}); get it again") from error
