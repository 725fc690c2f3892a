"""A network that knows something already, as all that uses one sees it; see ``backbones.py`` for those there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier.

    Attributes:
        name: what a recipe calls it.
        origin: where its weights were learnt, a phrase for people.
        mean: what is taken from a pixel (0 to 255), one value a colour, before it goes in.
        std: what it is divided by then.
        build: the module for so many channels, with any weights. It takes normalised images (N, C, H, W) and gives a
            tuple of feature maps; ``widths`` are their channels, ``steps`` its parts from the bottom to the top.
        weights: the state of that module as it was learnt, for so many channels.
    """

    name: str
    origin: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    build: Callable[[int], nn.Module]
    weights: Callable[[int], dict[str, Tensor]]
