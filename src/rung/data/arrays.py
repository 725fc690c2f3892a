"""From arrays of images in any usual layout and range to uint8 (N, H, W, C), C 1 or 3."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images
from rung.errors import DataError

Array = npt.NDArray[Any]

LARGEST_AREA = 2**24
"""Pixels of one image, at most."""


@dataclass(frozen=True)
class Layout:
    """How the images of an array lie in it.

    Attributes:
        channels_first: whether the array is (N, C, H, W).
        height, width: in pixels.
        channels: 1 (grey), 3 (RGB) or 4 (RGB with alpha).
    """

    channels_first: bool
    height: int
    width: int
    channels: int


def find_layout(shape: tuple[int, ...], where: str) -> Layout:
    """The layout of images of that shape: (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1, 3 or 4.

    Where both of the latter two are possible, C is the last axis.

    Args:
        shape: of the whole array.
        where: the array or file, for messages.

    Raises:
        DataError: it is none of these, or an image has no pixels or more than 2²⁴.
    """
    each = shape[1:]
    if len(each) == 2:
        layout = Layout(False, each[0], each[1], 1)
    elif len(each) == 3 and each[2] in (1, 3, 4):
        layout = Layout(False, each[0], each[1], each[2])
    elif len(each) == 3 and each[0] in (1, 3, 4):
        layout = Layout(True, each[1], each[2], each[0])
    else:
        raise DataError(
            f"{where} has images of the shape {shape}; "
            "it must be (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1, 3 or 4"
        )
    if not 0 < layout.height * layout.width <= LARGEST_AREA:
        raise DataError(f"{where} has images of {layout.height} × {layout.width} pixels, which cannot be trained on")
    return layout


def pixel_range(pieces: Iterable[Array], name: str, where: str) -> tuple[float, float]:
    """The least and the greatest value of all pieces of the array ``name``; (inf, -inf) if there is none.

    Raises:
        DataError: a value is NaN or infinite.
    """
    least, most = math.inf, -math.inf
    for values in pieces:
        if not values.size:
            continue
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(f"{where} has pixels that are NaN or infinite in {name}; replace them first")
        least, most = min(least, low), max(most, high)
    return least, most


def check_pixel_types(dtypes: Collection[np.dtype[Any]], where: str) -> None:
    """Refuse pixels that are not numbers.

    Raises:
        DataError: they are text, objects, complex numbers or dates.
    """
    strange = [dtype for dtype in dtypes if dtype.kind not in "buif"]
    if strange:
        raise DataError(f"{where} has images of the type {strange[0]}; use bytes, or numbers from 0 to 255")


def find_scale(dtypes: Collection[np.dtype[Any]], least: float, most: float, where: str) -> float:
    """What pixels of these types and this range are multiplied by to run from 0 to 255.

    Booleans, and floating point from 0 to 1, by 255; 16-bit whole numbers beyond 255 by 255/65535; whatever lies
    between 0 and 255 otherwise by 1.

    Raises:
        DataError: the range is none of these, so that something would have to be guessed.
    """
    if all(dtype == np.uint8 for dtype in dtypes):
        return 1.0
    if {dtype.kind for dtype in dtypes} <= {"b", "f"} and least >= 0 and most <= 1:
        return 255.0
    if least >= 0 and most <= 255:
        return 1.0
    if all(dtype == np.uint16 for dtype in dtypes):
        return 255 / 65535
    raise DataError(
        f"{where} has pixels from {least:g} to {most:g}; scale them to 0..1 or 0..255 first, so that nothing is guessed"
    )


def to_images(values: Array, layout: Layout, scale: float) -> Images:
    """uint8 (n, H, W, 1 or 3), contiguous, of an array with that layout; alpha is laid over white."""
    if values.dtype != np.uint8:
        values = np.round(values.astype(np.float64) * scale).astype(np.uint8)
    if values.ndim == 3:
        values = values[..., None]
    elif layout.channels_first:
        values = values.transpose(0, 2, 3, 1)
    if layout.channels == 4:
        alpha = values[..., 3:].astype(np.uint16)
        values = ((values[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(values)
