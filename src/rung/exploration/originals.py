"""The images as they lie in the data: their formats and sizes, and a few of them whole."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rung.data.preprocessing import FORMATS, Unusable, read_header
from rung.data.source import Source
from rung.progress import Progress, silent

HEADERS = 20_000
"""Headers read at most; every so many-th image where there are more."""

EXTREME = 3.0
"""An image is conspicuous from this ratio of its longer to its shorter side on."""

_SHOWN = 6  # originals kept for the page
_PIXELS = 160  # of their longer side
_LISTED = 200


@dataclass(frozen=True)
class Original:
    """One image before preprocessing, ready to be shown: ``content`` is a JPEG or PNG of at most 160 pixels a side."""

    content: bytes
    label: int
    row: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Originals:
    """What the headers of the images say.

    Attributes:
        read: how many were read; 0 where the data has no encoded images, only pixels.
        formats: images by format, most frequent first.
        sizes: images by (height, width), most frequent first.
        extreme: (row, size) of images that are three times as long as wide, or more.
        odd: (row, size) of images of another size than 95 % or more of all.
        shown: a few images, of different classes.
    """

    read: int
    formats: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[tuple[int, int], int], ...]
    extreme: tuple[tuple[int, tuple[int, int]], ...]
    odd: tuple[tuple[int, tuple[int, int]], ...]
    shown: tuple[Original, ...]


def look_at_originals(source: Source, unreadable: Collection[str], progress: Progress = silent) -> Originals:
    """Read the headers of the images, in the order of the data.

    Args:
        source: the data.
        unreadable: names of the images that have no row in the decoded array.
        progress: told how far it is.
    """
    total, row, number = source.summary.total, 0, 0
    step = -(-total // HEADERS)
    formats: Counter[str] = Counter()
    measured: list[tuple[int, tuple[int, int]]] = []
    shown: dict[int, Original] = {}
    for batch in source.reader.batches():
        for image, label, name in zip(batch.images, batch.labels.tolist(), batch.names, strict=True):
            number += 1
            if name in unreadable:
                continue
            if isinstance(image, bytes | Path) and (row % step == 0):
                try:
                    header = read_header(image)
                except Unusable:
                    row += 1
                    continue
                formats[_format(image)] += 1
                measured.append((row, (header.height, header.width)))
            if batch.split == "train" and len(shown) < _SHOWN and label not in shown:
                original = _original(image, label, row)
                if original is not None:
                    shown[label] = original
            row += 1
        if isinstance(batch.images, np.ndarray) and (len(shown) >= min(_SHOWN, len(source.classes))):
            break
        progress("Looking at the originals", number, total)
    sizes = Counter(size for _, size in measured)
    common = sizes.most_common()
    usual = common[0] if common and common[0][1] >= 0.95 * len(measured) else None
    extreme = [(at, size) for at, size in measured if max(size) >= EXTREME * min(size)]
    odd = [(at, size) for at, size in measured if usual is not None and size != usual[0]]
    return Originals(
        len(measured),
        tuple(formats.most_common()),
        tuple(common),
        tuple(sorted(extreme, key=lambda item: -max(item[1]) / min(item[1]))[:_LISTED]),
        tuple(odd[:_LISTED]),
        tuple(shown.values()),
    )


def _format(image: bytes | Path) -> str:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=FORMATS) as opened:
            return opened.format or "other"
    except Exception:  # As in reading headers: Pillow's readers raise almost anything.
        return "other"


def _original(image: object, label: int, row: int) -> Original | None:
    from PIL import Image, ImageOps

    try:
        if isinstance(image, np.ndarray):
            opened: Image.Image = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        elif isinstance(image, bytes | Path):
            opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=FORMATS)
            opened = ImageOps.exif_transpose(opened)
        else:
            return None
        size = opened.height, opened.width
        small = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
        small.thumbnail((_PIXELS, _PIXELS))
        sink = io.BytesIO()
        small.save(sink, "PNG")
    except Exception:
        return None
    return Original(sink.getvalue(), label, row, size)
