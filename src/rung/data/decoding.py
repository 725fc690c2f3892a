"""Decoding every image of a data set once, into one uint8 array on disk.

A decoded data set is a folder of the cache::

    images.npy   uint8 (M, H, W, C), the readable images of all splits in the order of the data
    labels.npy   int64 (M,)
    parts.npy    uint8 (M,), positions in ("train", "val", "test")
    names.txt    the files that the images came from, where each has one
    about.json   hash of pixels and labels, unreadable files

Only batches are held in memory, so its use does not grow with the data.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt

from rung.data.cache import Cache
from rung.data.dataset import Images, Labels, Unreadable
from rung.data.labels import few
from rung.data.preprocessing import Unusable, prepare, read_pixels
from rung.data.source import SPLITS, Batch, Size, Source
from rung.errors import DataError
from rung.progress import Progress

# Part of every key: pixels that an older version of rung made are not used. Raise it whenever
# preprocessing or a reader comes to give other pixels or labels than before.
_VERSION = 1

UNREADABLE_MOST = 0.01
"""Data with a larger share of unreadable images is refused."""

_CHUNK_BYTES = 2**22


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of a source at one size; the fields are described at the top of this module."""

    images: Images
    labels: Labels
    parts: npt.NDArray[np.uint8]
    files: Sequence[str] | None
    digest: str
    unreadable: tuple[Unreadable, ...]


def decode(source: Source, size: Size, cache: Cache, progress: Progress, workers: int) -> Decoded:
    """Take the decoded images from the cache, or decode them into it.

    Args:
        source: the data.
        size: (height, width) of the result in pixels.
        cache: where the result is kept.
        progress: told about every few images.
        workers: threads that decode, at least 1.

    Raises:
        DataError: more than 1 % of the images cannot be read, or the disk is full.
    """
    height, width = size
    channels = source.summary.channels
    recipe = f"{_VERSION} {source.content_key} {height} {width} {channels}"
    key = hashlib.sha256(recipe.encode()).hexdigest()[:32]

    def make(folder: Path) -> None:
        cache.require(source.summary.total * height * width * channels)
        _decode_into(folder, source, size, progress, workers)
        _refuse_damaged(folder, source, cache.root / "unreadable" / f"{key}.txt")

    return cache.entry("images", key, _read, make)


def _read(folder: Path) -> Decoded:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    parts = np.load(folder / "parts.npy", allow_pickle=False)
    if not len(images) == len(labels) == len(parts) == about["images"]:
        raise ValueError(f"{folder} is damaged")
    files = FileNames.open(folder / "names.txt", len(images)) if about["files"] else None
    return Decoded(
        images, labels, parts, files, about["sha256"], tuple(Unreadable(*pair) for pair in about["unreadable"])
    )


def _decode_into(folder: Path, source: Source, size: Size, progress: Progress, workers: int) -> None:
    channels, total = source.summary.channels, source.summary.total
    labels: list[Labels] = []
    parts: list[npt.NDArray[np.uint8]] = []
    unreadable: list[list[str]] = []
    digest = hashlib.sha256()
    done = kept = 0
    has_files = source.reader.has_files
    with (
        (folder / "images.npy").open("wb") as stream,
        (folder / "names.txt").open("wb") as names,
        warnings.catch_warnings(),
    ):
        # Pillow warns of odd metadata; what matters, an unreadable image, is recorded.
        warnings.simplefilter("ignore")
        header = _header(0, size, channels)
        stream.write(header)
        for batch, pixels, reasons in _decoded(_checked(source), size, channels, workers):
            readable = np.array([reason is None for reason in reasons], bool)
            unreadable += [[name, reason] for name, reason in zip(batch.names, reasons, strict=True) if reason]
            chosen = np.ascontiguousarray(pixels[readable] if not readable.all() else pixels)
            chosen_labels = batch.labels[readable]
            digest.update(chosen.data)
            digest.update(chosen_labels.astype("<i8").tobytes())
            stream.write(chosen.data)
            if has_files:
                names.writelines(_line(name) for name, use in zip(batch.names, readable.tolist(), strict=True) if use)
            labels.append(chosen_labels)
            parts.append(np.full(len(chosen), SPLITS.index(batch.split), np.uint8))
            done, kept = done + len(reasons), kept + len(chosen)
            progress("Decoding the images", done, total)
        if done != total:
            raise _changed(source)
        final = _header(kept, size, channels)
        assert len(final) == len(header)
        stream.seek(0)
        stream.write(final)
        _flush(stream)
    np.save(folder / "labels.npy", np.concatenate(labels) if labels else np.empty(0, np.int64))
    np.save(folder / "parts.npy", np.concatenate(parts) if parts else np.empty(0, np.uint8))
    about = {"images": kept, "sha256": digest.hexdigest(), "files": has_files, "unreadable": unreadable}
    with (folder / "about.json").open("wb") as stream:
        stream.write(json.dumps(about).encode())
        _flush(stream)


def _checked(source: Source) -> Iterator[Batch]:
    for batch in source.reader.batches():
        if not len(batch.images) == len(batch.labels) == len(batch.names):
            raise _changed(source)
        yield batch


def _changed(source: Source) -> DataError:
    return DataError(f"{source.origin} changed while it was read; start again when it is complete")


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _header(count: int, size: Size, channels: int) -> bytes:
    """The beginning of a ``.npy`` file; NumPy pads it so that its length does not depend on ``count``."""
    header = io.BytesIO()
    shape = (count, *size, channels)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


Finished = tuple[Batch, Images, list[str | None]]


def _decoded(batches: Iterator[Batch], size: Size, channels: int, workers: int) -> Iterator[Finished]:
    """Decode batches in parallel and give them back in their order, with a reason for each unreadable image."""
    rows = max(1, min(256, _CHUNK_BYTES // (size[0] * size[1] * channels)))
    pieces = (piece for batch in batches for piece in _pieces(batch, rows))
    waiting: deque[Future[Finished]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for piece in pieces:
                waiting.append(pool.submit(_decode_batch, piece, size, channels))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _pieces(batch: Batch, rows: int) -> Iterator[Batch]:
    for start in range(0, len(batch.labels), rows):
        part = slice(start, start + rows)
        yield Batch(batch.split, batch.images[part], batch.labels[part], batch.names[part])


def _decode_batch(batch: Batch, size: Size, channels: int) -> Finished:
    count = len(batch.labels)
    shape = (count, *size, channels)
    if isinstance(batch.images, np.ndarray) and batch.images.shape == shape:
        return batch, batch.images, [None] * count
    pixels = np.empty(shape, np.uint8)
    reasons: list[str | None] = []
    one: Callable[[Any], Images]
    if isinstance(batch.images, np.ndarray):
        from PIL import Image

        def one(image: Any) -> Images:
            return prepare(Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image), size, channels)
    else:

        def one(image: Any) -> Images:
            if image is None:
                raise Unusable("the data has no image in this place")
            return read_pixels(image, size, channels)

    for row, image in enumerate(batch.images):
        try:
            pixels[row] = one(image)
        except Unusable as error:
            reasons.append(str(error))
        else:
            reasons.append(None)
    return batch, pixels, reasons


def _refuse_damaged(folder: Path, source: Source, report: Path) -> None:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    bad, total = about["unreadable"], about["images"] + len(about["unreadable"])
    if len(bad) <= UNREADABLE_MOST * total:
        return
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("".join(f"{name}\t{reason}\n" for name, reason in bad), encoding="utf-8")
    shown = few((f"{name}: {reason}" for name, reason in bad), 3)
    raise DataError(
        f"{len(bad):,} of the {total:,} images in {source.origin} cannot be read ({shown}); more than 1 % is too many: "
        f"repair or remove those listed in {report}"
    )


# --- names of files ------------------------------------------------------------------------------------


def _line(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


class FileNames(Sequence[str]):
    """The files that images came from; they stay on disk, whatever their number."""

    def __init__(self, text: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> None:
        self._text = text
        self._ends = ends

    @classmethod
    def open(cls, path: Path, count: int) -> FileNames:
        """Raises ValueError if the file does not have ``count`` names."""
        text = np.memmap(path, np.uint8, "r")
        ends = np.flatnonzero(text == ord("\n"))
        if len(ends) != count:
            raise ValueError(f"{path} is damaged")
        return cls(text, ends)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        start = int(self._ends[at - 1]) + 1 if at else 0
        return str(json.loads(self._text[start : int(self._ends[at])].tobytes()))
