"""From a source to a :class:`Dataset`: decoded, split and ready to train on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rung.cores import usable_cores
from rung.data.cache import Cache
from rung.data.dataset import Dataset, Split
from rung.data.decoding import Decoded, decode
from rung.data.labels import few
from rung.data.lists import Listed
from rung.data.resolve import find_source
from rung.data.source import SPLITS, DataSummary, Size, Source
from rung.data.splits import Rows, check_classes, cut, val_size
from rung.errors import DataError, UsageError
from rung.progress import Progress, silent
from rung.seeds import check_seed

LARGEST_KEPT = 256
"""Images of one common size keep it up to this height and width, where no size is asked for."""

DEFAULT_SIZE = 64
"""Height and width where none is asked for and the images have no common small size."""

LARGEST = 4096

Mask = npt.NDArray[np.bool_]
Excluded = str | int | Listed


def load(
    data: str | os.PathLike[str],
    image_size: int | Size | None = None,
    seed: int = 0,
    *,
    test_fraction: float = 0.2,
    val_fraction: float | None = None,
    exclude: Collection[Excluded] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Dataset:
    """:func:`find_source` and :func:`materialise` in one call; see there for arguments and errors."""
    source = find_source(data, cache_dir=cache_dir, progress=progress)
    return materialise(
        source,
        image_size=image_size,
        seed=seed,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        exclude=exclude,
        cache_dir=cache_dir,
        progress=progress,
        workers=workers,
    )


def materialise(
    source: Source,
    *,
    image_size: int | Size | None = None,
    seed: int = 0,
    test_fraction: float = 0.2,
    val_fraction: float | None = None,
    exclude: Collection[Excluded] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Dataset:
    """Decode the images of a source (once: they are kept in the cache) and split them.

    The data's own test and validation splits are kept. A test split that is missing is cut from the training
    images, and so is a validation split; both are stratified: every class is in all splits, in proportion. The
    cuts depend on the labels and on ``seed`` alone, so runs with the same seed can be compared image by image.

    Args:
        source: from :func:`find_source`.
        image_size: height and width in pixels, or one number for both, 1 to 4096. By default the size that all
            images have, if they have one of at most 256×256, else 64×64.
        seed: of the cuts, 0 or more.
        test_fraction: share of the images to cut off for the test split where the data has none; above 0, below 1.
        val_fraction: share of the training images to cut off for the validation split where the data has none; by
            default 10 %, but at most 2,500 images.
        exclude: training and validation images to leave out: files as in ``Split.files``, or rows of
            ``Split.images``. The cuts are the same with and without them, so that the test split stays what it is. An
            image of the test split is left out only where its :class:`~rung.data.lists.Listed` says ``"test"``, for
            that changes what is measured.
        cache_dir: where decoded images are kept; by default as in :func:`find_source`.
        progress: told how far decoding is.
        workers: decoding threads; by default one a CPU core that this process may use.

    Raises:
        DataError: images cannot be read (more than 1 % of them), a class has too few of them, an image to exclude does
            not exist or may not be excluded, or the disk is full.
        UsageError: an argument is out of its range.
    """
    _check_arguments(seed, test_fraction, val_fraction, workers)
    size = _size(source.summary, image_size)
    cache = Cache(cache_dir)
    decoded = decode(source, size, cache, progress or silent, workers or usable_cores())
    notes = [*source.notes, *([cache.note] if cache.note else [])]
    if image_size is None and size != source.summary.uniform_size:
        notes.append(f"The images were resized to {size[0]} × {size[1]} pixels.")
    if decoded.unreadable:
        bad = few((f"{item.file}: {item.reason}" for item in decoded.unreadable), 3)
        notes.append(f"Left out because they cannot be read: {len(decoded.unreadable):,} ({bad}).")

    rows = {name: np.flatnonzero(decoded.parts == index) for index, name in enumerate(SPLITS)}
    own = {name for name in source.summary.images if len(rows[name])}
    counts = np.bincount(decoded.labels[rows["train"]], minlength=len(source.classes))
    check_classes(counts.tolist(), source.classes, source.origin, ("test" not in own) + ("val" not in own))

    if "test" not in own:
        size_cut = max(1, round(len(rows["train"]) * test_fraction))
        rows["train"], rows["test"] = _cut(rows["train"], decoded, size_cut, seed, "test")
        notes.append(
            f"The data has no test split: {len(rows['test']):,} images ({test_fraction:.0%} of each class, as near as "
            f"whole images allow) became one, chosen with seed {seed}."
        )
    if "val" not in own:
        before = len(rows["train"])
        rows["train"], rows["val"] = _cut(rows["train"], decoded, val_size(before, val_fraction), seed, "val")
        notes.append(
            f"The validation split is {len(rows['val']):,} of the {before:,} training images, stratified, with seed "
            f"{seed}."
        )
    keep = _kept(decoded, exclude, rows["test"], source)
    if not keep.all():
        notes += _leave_out(rows, keep, decoded, source)
    splits = {
        name: Split(name, decoded.images, rows[name], decoded.labels[rows[name]], decoded.files) for name in SPLITS
    }
    return Dataset(
        name=source.name,
        origin=source.origin,
        classes=source.classes,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        fingerprint=_fingerprint(decoded, source.classes, keep),
        unreadable=decoded.unreadable,
        notes=tuple(notes),
    )


def whole(
    source: Source,
    *,
    classes: Sequence[str],
    image_size: Size,
    channels: int,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Split:
    """All images of a source in one split, labelled with the classes of another data set: to evaluate a model on.

    Args:
        source: from :func:`find_source`; a class may have any number of images.
        classes: names that its classes must be among; a label is a position in them.
        image_size: (height, width) in pixels, whatever the source's own size is.
        channels: 1 or 3, whatever the source has.
        cache_dir, progress, workers: as of :func:`materialise`.

    Returns:
        A split named ``"test"``.

    Raises:
        DataError: the source has other classes, images that cannot be read (more than 1 % of them), or the disk is
            full.
    """
    position = {name: index for index, name in enumerate(classes)}
    unknown = [name for name in source.classes if name not in position]
    if unknown:
        raise DataError(
            f"{source.origin} has classes that the model does not know ({few(unknown)}); it knows {few(classes, 10)}"
        )
    source = replace(source, summary=replace(source.summary, channels=channels))
    decoded = decode(source, image_size, Cache(cache_dir), progress or silent, workers or usable_cores())
    labels = np.array([position[name] for name in source.classes], np.int64)[decoded.labels]
    return Split("test", decoded.images, np.arange(len(labels)), labels, decoded.files)


def _cut(rows: Rows, decoded: Decoded, size: int, seed: int, purpose: str) -> tuple[Rows, Rows]:
    others, chosen = cut(decoded.labels[rows], size, seed, purpose)
    return rows[others], rows[chosen]


def _check_arguments(seed: int, test_fraction: float, val_fraction: float | None, workers: int | None) -> None:
    check_seed(seed)
    for name, value in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name} is {value}; it must be above 0 and below 1")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; it must be at least 1")


def _size(summary: DataSummary, wanted: int | Size | None) -> Size:
    if wanted is None:
        uniform = summary.uniform_size
        return uniform if uniform is not None and max(uniform) <= LARGEST_KEPT else (DEFAULT_SIZE, DEFAULT_SIZE)
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    if not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
        raise UsageError(f"the image size is {height} × {width}; each must be 1 to {LARGEST} pixels")
    return int(height), int(width)


def _kept(decoded: Decoded, exclude: Collection[Excluded] | None, test: Rows, source: Source) -> Mask:
    """Which rows stay: bool (M,)."""
    keep = np.ones(len(decoded.labels), bool)
    if not exclude:
        return keep
    where = source.origin
    files = {file: row for row, file in enumerate(decoded.files or ())}
    unreadable = {item.file for item in decoded.unreadable}
    in_test = np.zeros(len(keep), bool)
    in_test[test] = True
    missing: list[str | int] = []
    forbidden: list[str | int] = []
    for item in dict.fromkeys(item if isinstance(item, Listed) else Listed(item) for item in exclude):
        row = _row(item.image, files, len(keep))
        if row is None:
            missing += [] if item.image in unreadable else [item.image]
            continue
        label = source.classes[decoded.labels[row]]
        if item.label is not None and item.label != label:
            raise DataError(
                f"the list of images to exclude has {item.image} as {item.label}, but in {where} it is {label}: "
                "the list belongs to other data"
            )
        if in_test[row] and item.split != "test":
            forbidden.append(item.image)
        keep[row] = False
    if missing:
        raise DataError(
            f"{where} has no image {few(missing)} to exclude; give files or rows as the data set lists them"
        )
    if forbidden:
        raise DataError(
            f"{few(forbidden)} cannot be excluded: these images are in the test split of {where}, and without them "
            "something else would be measured; take them from the list, or, if that is meant, say test in a column "
            "named split"
        )
    return keep


def _row(image: str | int, files: Mapping[str, int], count: int) -> int | None:
    """The row that a list means, or None."""
    if isinstance(image, str):
        if image in files or not (image.isascii() and image.isdigit() and len(image) < 16):
            return files.get(image)
        image = int(image)
    return int(image) if 0 <= image < count else None


def _leave_out(rows: dict[str, Rows], keep: Mask, decoded: Decoded, source: Source) -> list[str]:
    """Take what is not kept out of the splits' rows; and the sentences that say so."""
    before = {name: len(rows[name]) for name in SPLITS}
    for name in SPLITS:
        rows[name] = rows[name][keep[rows[name]]]
    counts = np.bincount(decoded.labels[rows["train"]], minlength=len(source.classes))
    check_classes(counts.tolist(), source.classes, f"{source.origin}, without the excluded images,", 0)
    for name in ("val", "test"):
        if not len(rows[name]):
            raise DataError(f"{source.origin} has no {name} images left without the excluded ones; exclude fewer")
    notes = [f"Left out as asked: {int((~keep).sum()):,} images."]
    lost = before["test"] - len(rows["test"])
    if lost:
        notes.append(
            f"{lost:,} of them were test images: the accuracy is measured on the other {len(rows['test']):,}, and "
            "cannot be compared with one measured on all."
        )
    return notes


def _fingerprint(decoded: Decoded, classes: tuple[str, ...], keep: Mask) -> str:
    """SHA-256 over the pixels, labels and classes (and over what was left out, if anything was)."""
    whole = hashlib.sha256(f"{decoded.digest} {decoded.images.shape} {json.dumps(classes)}".encode())
    if not keep.all():
        whole.update(np.packbits(keep).tobytes())
    return whole.hexdigest()
