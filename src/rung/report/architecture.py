"""A network as a small picture: a box for each layer, as high as its resolution, as wide as its channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rung.training.recipe import Recipe

HEIGHT = 92
GAP = 7
LARGEST = 64  # of a box, in SVG units
# What stands above a box: layers behind it that have no box of their own.
MARKS = {nn.BatchNorm2d: "norm", nn.Dropout: "drop"}


@dataclass(frozen=True)
class Box:
    """A layer: its place in the picture, and what it is.

    ``kind`` is ``"conv"`` or ``"dense"``; ``marks`` name what is done to its output; ``label`` stands below it.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str
    title: str
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Architecture:
    """The boxes from input to output, ``arcs`` (from, to) over those that a shortcut passes, and the picture's size."""

    boxes: tuple[Box, ...]
    arcs: tuple[tuple[float, float], ...]
    width: float
    height: float
    words: str


def architecture(recipe: Mapping[str, Any], image_size: tuple[int, int], channels: int, classes: int) -> Architecture:
    """Draw the network of a recipe.

    Args:
        recipe: as in ``run.json``.
        image_size: height and width in pixels.
        channels: of the images.
        classes: number of logits.

    Raises:
        KeyError, TypeError, ValueError: the recipe does not describe a network.
    """
    network = Recipe.from_dict(dict(recipe)).network.build(image_size, channels, classes)
    layers: list[dict[str, Any]] = []
    shortcuts: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append({"shape": tuple(output.shape[1:]), "weights": module.weight.numel(), "marks": []})
        elif layers and (mark := MARKS.get(type(module))):
            layers[-1]["marks"].append(mark)

    def passed(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shortcuts.append(len(layers) - 1)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.Dropout):
            module.register_forward_hook(note)
        # Both families name it so: a module whose result is added to its input.
        if type(module).__name__ == "Shortcut" or getattr(module, "shortcut", False):
            module.register_forward_hook(passed)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, channels, *image_size))
    return _lay_out(layers, shortcuts)


def _lay_out(layers: list[dict[str, Any]], shortcuts: list[int]) -> Architecture:
    most = max(max(layer["shape"][1:], default=1) for layer in layers)
    boxes: list[Box] = []
    x = 2.0
    for layer in layers:
        shape = layer["shape"]
        dense = len(shape) == 1
        side = 1 if dense else max(shape[1:])
        width = 4 + 3.2 * math.log2(1 + shape[0])
        height = LARGEST if dense else max(8.0, LARGEST * (0.25 + 0.75 * side / most))
        height = min(height, 12 + 6 * math.log2(1 + shape[0])) if dense else height
        size = f"{shape[0]} units" if dense else f"{shape[0]} channels of {shape[2]}×{shape[1]}"
        boxes.append(
            Box(
                round(x, 1),
                round(10 + (LARGEST - height) / 2, 1),
                round(width, 1),
                round(height, 1),
                "dense" if dense else "conv",
                str(shape[0]),
                f"{'Dense layer' if dense else 'Convolution'}: {size}, {layer['weights']:,} weights"
                + "".join(f", {mark}" for mark in dict.fromkeys(layer["marks"])),
                tuple(dict.fromkeys(layer["marks"])),
            )
        )
        x += width + GAP
    arcs = tuple(
        (boxes[place - 1].x + boxes[place - 1].width / 2, boxes[place].x + boxes[place].width + GAP / 2)
        for place in shortcuts
        if place > 0
    )
    words = ", ".join(box.title for box in boxes)
    return Architecture(tuple(boxes), arcs, round(x, 1), HEIGHT, words)
