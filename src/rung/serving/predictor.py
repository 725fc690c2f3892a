"""What the server needs of a model, whatever computes it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images

Floats = npt.NDArray[np.float32]


class Predictor(Protocol):
    """A trained classifier that takes pixels.

    Attributes:
        name: of the model, in addresses and answers.
        classes: their names.
        image_size: height and width of the images that it takes, in pixels.
        channels: 1 for grey, 3 for RGB.
        mean, std: with which it normalises pixels, one value a channel, from 0 to 255.
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def channels(self) -> int: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...

    def rows(self, pixels: Images) -> Floats:
        """A row an image of uint8 (N, H, W, C): a probability for each class, then features (perhaps none).

        Features are numbers that are alike for images that look alike to the model.
        """
        ...
