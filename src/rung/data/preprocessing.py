"""The one way from an image file to the pixels that a network sees.

Training, evaluation, prediction and serving all come through :func:`prepare`, so a network never meets an
image that was treated differently from those it learned from.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rung.data.dataset import Images
from rung.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000
"""An image with more pixels is refused before it is decoded: some 400 MB would be needed for it."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Pillow's names of what is read. Its other plugins are left out: nobody has missed them, and they are old."""

_ORIENTATION = 0x0112
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file tell: size in pixels after EXIF rotation, and whether it is grey."""

    height: int
    width: int
    grey: bool


def prepare(image: Image.Image, size: tuple[int, int], channels: int) -> Images:
    """The pixels of ``image`` as a network takes them.

    EXIF rotation is applied and the first frame taken. Transparency is laid over white. 16-bit and
    floating-point pixels are scaled to 8 bits, not clipped: 16 bits by 257, floating point from 0..1 if it
    lies there, from 0..255 if it lies there, and otherwise from its own range. Colour spaces are converted
    without ICC profiles. The image is then resized so that it just covers ``size``, and its centre is kept:
    nothing is distorted, and what is cut off is the same on both sides. Lanczos (antialiased) is used where the
    image shrinks, bilinear where it grows; an image that has the size already keeps its pixels as they are.

    Pass a file's image as ``Image.open`` returned it: a JPEG that is much too large is then decoded at a
    half, a quarter or an eighth of its size, at a fraction of the time.

    Args:
        image: any image that Pillow can open or make.
        size: (height, width) in pixels, each at least 1.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (height, width, channels).

    Raises:
        DataError: the image has more than 100 million pixels, or pixels that are NaN or infinite.
        OSError: the file of ``image`` is damaged (other errors of Pillow may come, too; :func:`read_image`
            turns all of them into a DataError).
    """
    from PIL import Image

    height, width = size
    _refuse_bomb(image)
    rotation = _rotation(image)
    if image.format in ("JPEG", "MPO") and hasattr(image, "draft"):
        wanted = (height, width) if rotation in _SIDEWAYS else (width, height)
        # Twice the size leaves the antialiasing filter something to average.
        image.draft(image.mode, (2 * wanted[0], 2 * wanted[1]))
    image.load()
    flat = _eight_bits(image)
    if flat.mode != ("L" if channels == 1 else "RGB"):
        flat = flat.convert("L" if channels == 1 else "RGB")
    if rotation is not None:
        flat = flat.transpose(rotation)
    if flat.size != (width, height):
        box = _centre(flat.width, flat.height, width, height)
        grows = box[2] - box[0] <= width and box[3] - box[1] <= height
        resample = Image.Resampling.BILINEAR if grows else Image.Resampling.LANCZOS
        flat = flat.resize((width, height), resample, box=box, reducing_gap=None if grows else 3.0)
    return np.frombuffer(flat.tobytes(), np.uint8).reshape(height, width, channels)


def read_image(
    source: str | os.PathLike[str] | bytes, size: tuple[int, int], channels: int, *, name: str | None = None
) -> Images:
    """Read one image file (or the bytes of one) and :func:`prepare` it.

    Args:
        source: a path, or the content of an image file.
        size: (height, width) in pixels.
        channels: 1 for grey, 3 for RGB.
        name: what to call the image in an error message; by default the path.

    Returns:
        uint8 (height, width, channels).

    Raises:
        DataError: the file is missing, not a regular file, not an image, damaged, truncated or larger than 100
            million pixels. The message names it.
    """
    called = name or ("the image" if isinstance(source, bytes) else os.fspath(source))
    try:
        return read_pixels(source if isinstance(source, bytes) else Path(source), size, channels)
    except Unusable as error:
        raise DataError(f"{called} cannot be used: {error}") from error


class Unusable(Exception):
    """Why an image cannot be used, as the second half of a sentence. For code that names the file itself."""


def read_pixels(content: bytes | Path, size: tuple[int, int], channels: int) -> Images:
    """:func:`read_image`, but raises :class:`Unusable` without a file name."""
    with open_image(content) as image:
        return prepare(image, size, channels)


def read_header(content: bytes | Path) -> Header:
    """Size and greyness from the first bytes of a file; the pixels are not decoded.

    Raises:
        Unusable: it is not an image, or has more than 100 million pixels.
    """
    with open_image(content) as image:
        width, height = image.size
        if _rotation(image, decode=False) in _SIDEWAYS:
            width, height = height, width
        return Header(height, width, image.mode in _GREY_MODES or (image.mode == "P" and _grey_palette(image)))


@contextlib.contextmanager
def open_image(content: bytes | Path) -> Iterator[Image.Image]:
    """An image for :func:`prepare`, whose pixels are not decoded yet.

    Pillow's readers raise almost any exception on damaged files (SyntaxError, struct.error, KeyError …), so
    all of them mean the same inside this context: Unusable.

    Raises:
        Unusable: it is not an image, is damaged, or has more than 100 million pixels.
    """
    try:
        with _opened(content) as image:
            _refuse_bomb(image)
            yield image
    except Exception as error:
        raise Unusable(_reason(error)) from error


def _opened(content: bytes | Path) -> Image.Image:
    from PIL import Image

    if isinstance(content, bytes):
        return Image.open(io.BytesIO(content), formats=FORMATS)
    if not stat.S_ISREG(content.stat().st_mode):
        raise DataError("it is not a regular file")
    return Image.open(content, formats=FORMATS)


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image in a format that is read here, or its beginning is damaged"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MAX_PIXELS // 10**6} million pixels"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = " ".join(str(error).split())[:200]
    return f"it is damaged ({words or type(error).__name__})"


def _refuse_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"it has {image.width} × {image.height} pixels; at most {MAX_PIXELS // 10**6} million are read")
    if image.width < 1 or image.height < 1:
        raise DataError("it has no pixels")


# Image.Transpose values by EXIF orientation, and those of them that swap height and width.
_TRANSPOSE = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_SIDEWAYS = frozenset({5, 4, 6, 2})


def _rotation(image: Image.Image, *, decode: bool = True) -> Any:
    """The ``Image.Transpose`` that sets the image upright, or None.

    A PNG may say so behind its pixels, which Pillow decodes to get there: ``decode`` is whether it may.
    """
    from PIL import Image

    try:
        exif = image.getexif() if decode else Image.Image.getexif(image)
        turned = _TRANSPOSE.get(exif.get(_ORIENTATION, 1))
    except Exception:  # Damaged EXIF data says nothing about the pixels.
        return None
    return None if turned is None else Image.Transpose(turned)


def _grey_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return len(palette) > 0 and bool((palette == palette[:, :1]).all())


def _eight_bits(image: Image.Image) -> Image.Image:
    """``image`` as L or RGB (or a mode that converts to them directly), transparency laid over white."""
    from PIL import Image

    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_scaled(np.asarray(image)))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        grey = mode in ("L", "LA", "La", "1") or (mode == "P" and _grey_palette(image))
        if mode in ("La", "RGBa"):
            image = image.convert("LA" if mode == "La" else "RGBA")
        above = image.convert("RGBA")
        white = Image.new("RGBA", above.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, above).convert("L" if grey else "RGB")
    return image.convert("L" if mode == "1" else "RGB") if mode in ("1", "P") else image


def _scaled(values: np.ndarray[Any, Any]) -> Images:
    """Wide grey pixels as 8 bits."""
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise DataError("it has pixels that are NaN or infinite")
    least, most = float(wide.min()), float(wide.max())
    if values.dtype.kind == "f" and least >= 0 and most <= 1:
        wide *= 255
    elif values.dtype.kind != "f" and least >= 0 and 255 < most <= 65535:
        wide *= 255 / 65535
    elif least < 0 or most > 255:
        wide = (wide - least) * (255 / (most - least)) if most > least else np.zeros_like(wide)
    return np.asarray(np.round(wide), np.uint8)


def _centre(width: int, height: int, new_width: int, new_height: int) -> tuple[float, float, float, float]:
    """The largest central part with the shape of the new size: left, upper, right, lower."""
    scale = min(width / new_width, height / new_height)
    across, down = min(new_width * scale, width), min(new_height * scale, height)
    left, upper = (width - across) / 2, (height - down) / 2
    return left, upper, left + across, upper + down
