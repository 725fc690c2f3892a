"""What a model looked at in one image, and what it saw of it.

An image is classified again and again with another small part of it blurred away; where that makes the answer less
sure, the model has looked (M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014;
blur in the place of grey: R. Fong and A. Vedaldi, "Interpretable explanations of black boxes by meaningful
perturbation", ICCV 2017). This asks nothing of the network but answers, so it is the same for every kind.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images

if TYPE_CHECKING:
    from PIL import Image

Floats = npt.NDArray[np.float32]

PART = 0.25  # side of what is blurred away, of the image's
CLEAR = 0.5  # log-odds; where no part changes the answer by more, the model looked nowhere in particular
_SMALL = 64  # pixels a side up to which an image is cheap enough for the finer grid
_COLOUR = (224, 104, 20)  # the style sheet's --wrong, which shows on most photographs

_PLACES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))


@dataclass(frozen=True)
class Heat:
    """How much each part of an image spoke for the answer.

    Attributes:
        values: float32 (h, w), from 0 to 1: how much the log-odds of the answer fall without the part around this
            place, of the largest fall anywhere.
        strongest: that largest fall, in nats.
        without: the probability of the answer without the part that matters most.
        place: where that is, in words.
    """

    values: Floats
    strongest: float
    without: float
    place: str

    @property
    def clear(self) -> bool:
        """Whether some part mattered at all."""
        return self.strongest >= CLEAR


async def occlusion(pixels: Images, answer: int, classify: Callable[[Images], Awaitable[Floats]]) -> Heat:
    """The heat map of one image.

    Args:
        pixels: uint8 (H, W, C).
        answer: the class to explain.
        classify: probabilities (N, K) of images (N, H, W, C).
    """
    height, width = pixels.shape[:2]
    grid = 14 if max(height, width) <= _SMALL else 9
    rows, columns = min(grid, height), min(grid, width)
    part_y, part_x = max(1, round(height * PART)), max(1, round(width * PART))
    blurred = _blurred(pixels, max(part_y, part_x))
    tops = np.round(np.linspace(-part_y / 2, height - part_y / 2, rows)).astype(int)
    lefts = np.round(np.linspace(-part_x / 2, width - part_x / 2, columns)).astype(int)
    images = np.repeat(pixels[None], 1 + rows * columns, 0)
    for number, (top, left) in enumerate(((y, x) for y in tops for x in lefts), 1):
        spot = slice(max(top, 0), max(top + part_y, 1)), slice(max(left, 0), max(left + part_x, 1))
        images[number][spot] = blurred[spot]
    probabilities = (await classify(images))[:, answer].astype(np.float64)
    odds = _log_odds(probabilities)
    falls = (odds[0] - odds[1:]).reshape(rows, columns)
    strongest = max(0.0, float(falls.max()))
    y, x = np.unravel_index(int(falls.argmax()), falls.shape)
    return Heat(
        values=np.asarray(falls.clip(0) / max(strongest, 1e-9), np.float32),
        strongest=strongest,
        without=float(probabilities[1 + int(y) * columns + int(x)]),
        place=_PLACES[min(2, int(3 * y) // rows)][min(2, int(3 * x) // columns)],
    )


def png(pixels: Images) -> bytes:
    """Pixels (H, W, C) as the content of a PNG file, exactly."""
    from PIL import Image

    return _encoded(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def picture(pixels: Images) -> str:
    """Pixels (H, W, C) as the ``data:`` address of a PNG, exactly."""
    return _address(png(pixels))


def normalised_picture(pixels: Images, mean: npt.ArrayLike, std: npt.ArrayLike) -> str:
    """What the first layer takes, as a picture: grey is the training images' mean, black and white 3 deviations."""
    values = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return picture(np.round((values / 6 + 0.5).clip(0, 1) * 255).astype(np.uint8))


def heat_picture(heat: Heat, size: tuple[int, int]) -> str:
    """The heat as a transparent picture to be laid over the image; ``size`` is the image's (height, width)."""
    from PIL import Image

    alpha = Image.fromarray(np.round(heat.values * 255).astype(np.uint8))
    scale = max(1, 192 // max(size))
    alpha = alpha.resize((size[1] * scale, size[0] * scale), Image.Resampling.BICUBIC)
    colour = Image.new("RGB", alpha.size, _COLOUR)
    colour.putalpha(alpha.point(lambda value: round(value * 0.8)))
    return _address(_encoded(colour))


def _blurred(pixels: Images, radius: int) -> Images:
    from PIL import Image, ImageFilter

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius))).reshape(pixels.shape)


def _log_odds(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    inside = probabilities.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)


def _encoded(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def _address(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
