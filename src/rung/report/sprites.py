"""Many small images in one picture: the sprite sheets of a report.

A report shows a thousand thumbnails and must stay small. One JPEG of all of them costs a few hundred bytes
a thumbnail and one decoding; the page shows a piece of it for each.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images, Split

SIDE = 80  # larger images are reduced to this many pixels on their longer side
PIXELS = 1_500_000  # of all thumbnails together: what encodes within some hundredths of a second
BYTES = 1_500_000  # of the sheet; base64 makes it a third more
LOSSLESS = 300_000  # pixels: below, a sheet is small enough for a PNG, which keeps tiny images exact
BLOCK = 8  # JPEG codes blocks of this side; cells that end on one do not bleed into each other
AT_ONCE = 1024  # images read from the memory map at a time


@dataclass(frozen=True)
class Sheet:
    """Thumbnails side by side, in reading order.

    Attributes:
        uri: the picture as a ``data:`` address.
        count: how many thumbnails it holds.
        columns: how many stand in a row.
        width, height: of a thumbnail, in pixels.
        cell: width and height that a thumbnail takes in the sheet (it is padded to whole JPEG blocks).
        size: width and height of the sheet.
        pixelated: whether the images are so small that a page should enlarge them in crisp squares.
    """

    uri: str
    count: int
    columns: int
    width: int
    height: int
    cell: tuple[int, int]
    size: tuple[int, int]
    pixelated: bool

    @property
    def scale(self) -> tuple[float, float]:
        """CSS ``background-size`` in percent of a thumbnail's box."""
        return self.size[0] / self.width * 100, self.size[1] / self.height * 100

    @property
    def step(self) -> tuple[float, float]:
        """CSS ``background-position`` in percent from one column, and one row, to the next."""
        across, down = self.size[0] - self.width, self.size[1] - self.height
        return self.cell[0] / max(across, 1) * 100, self.cell[1] / max(down, 1) * 100

    def place(self, number: int) -> tuple[int, int]:
        """Column and row of a thumbnail."""
        return number % self.columns, number // self.columns


def capacity(split: Split) -> int:
    """How many thumbnails of this split's images fit on a sheet."""
    width, height, _, _ = _sizes(split)
    return max(24, PIXELS // (width * height))


def make_sheet(split: Split, positions: npt.NDArray[np.int64], limit: int = BYTES) -> Sheet:
    """Draw images of a split as thumbnails.

    Args:
        split: where the images are.
        positions: shape (n,), n > 0: which of them, the ones that matter most first.
        limit: bytes that the encoded picture may have. Images that are hard to compress lose quality
            first, then the last of them are left out.

    Returns:
        The sheet; its ``count`` may be less than n.
    """
    width, height, cell_width, cell_height = _sizes(split)
    positions = positions[: capacity(split)]
    thumbnails = _thumbnails(split, positions, width, height)
    while True:
        columns = max(1, ceil(sqrt(len(thumbnails) * cell_height / cell_width)))
        canvas = _tile(thumbnails, columns, cell_width, cell_height)
        lossless = canvas.shape[0] * canvas.shape[1] <= LOSSLESS
        content, kind = _encode(canvas, limit, lossless)
        if len(content) <= limit or len(thumbnails) <= 24:
            break
        thumbnails = thumbnails[: max(24, len(thumbnails) * limit // len(content) * 9 // 10)]
    return Sheet(
        uri=f"data:image/{kind};base64,{base64.b64encode(content).decode()}",
        count=len(thumbnails),
        columns=columns,
        width=width,
        height=height,
        cell=(cell_width, cell_height),
        size=(canvas.shape[1], canvas.shape[0]),
        pixelated=max(split.images.shape[1:3]) <= 48,
    )


def _sizes(split: Split) -> tuple[int, int, int, int]:
    """Width and height of a thumbnail, and of its cell in the sheet."""
    height, width = split.images.shape[1:3]
    scale = min(1.0, SIDE / max(height, width))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    return width, height, -(-width // BLOCK) * BLOCK, -(-height // BLOCK) * BLOCK


def _thumbnails(split: Split, positions: npt.NDArray[np.int64], width: int, height: int) -> Images:
    """uint8 (n, height, width, C): the chosen images, reduced where they are larger."""
    if split.images.shape[1:3] == (height, width):
        return split.take(positions)
    from PIL import Image

    reduced = np.empty((len(positions), height, width, split.images.shape[3]), np.uint8)
    for start in range(0, len(positions), AT_ONCE):
        for number, pixels in enumerate(split.take(positions[start : start + AT_ONCE]), start):
            image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
            small = image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
            reduced[number] = np.asarray(small).reshape(height, width, -1)
    return reduced


def _tile(thumbnails: Images, columns: int, cell_width: int, cell_height: int) -> Images:
    """uint8 (rows * cell_height, columns * cell_width, C), the last row filled up with grey."""
    count, height, width, channels = thumbnails.shape
    rows = -(-count // columns)
    cells = np.full((rows * columns, cell_height, cell_width, channels), 128, np.uint8)
    # The padding repeats the edge, so that it costs JPEG nothing and a rounded position shows no seam.
    padding = ((0, 0), (0, cell_height - height), (0, cell_width - width), (0, 0))
    cells[:count] = np.pad(thumbnails, padding, mode="edge")
    grid = cells.reshape(rows, columns, cell_height, cell_width, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * cell_height, columns * cell_width, channels)


def _encode(canvas: Images, limit: int, lossless: bool) -> tuple[bytes, str]:
    from PIL import Image

    picture = Image.fromarray(canvas.squeeze(2) if canvas.shape[2] == 1 else canvas)
    if lossless:
        sink = io.BytesIO()
        picture.save(sink, "PNG")
        if sink.tell() <= limit:
            return sink.getvalue(), "png"
    for quality in (85, 65, 40):
        sink = io.BytesIO()
        picture.save(sink, "JPEG", quality=quality, subsampling=0)
        if sink.tell() <= limit:
            break
    return sink.getvalue(), "jpeg"
