"""The ladder's networks, from the naive one upwards: each is the one below it with one idea more.

Read them from top to bottom. They are made of torch's own layers, one after the other, so that printing a network
shows all of it. What a rung changes apart from its network (augmentation, the learning rate) is in
``training/rungs.py``.

Images of about 32 pixels a side keep their resolution. Of larger ones, the first convolution takes so many pixels a
step that about 32 positions remain: otherwise the dense layers of the first rungs would fill the memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

# Positions a side that the first convolution leaves of larger images.
POSITIONS = 32
# Share of a batch in the running statistics that stand for all images: torch's tenth takes fifty steps to know them,
# and rounds of a short training have fewer.
MOMENTUM = 0.3
# A dense layer has at most so many weights, however many features come to it: 64 MiB.
LARGEST_DENSE = 2**24

Size = tuple[int, int]


@dataclass(frozen=True)
class NaiveConfig:
    """One convolution, and dense layers straight behind it: nearly all of its weights are in the first of those.

    Every position of the picture has weights of its own there, so nothing that is learnt about one place helps in
    another, and there are enough of them to learn the training images by heart.

    Attributes:
        filters: of the convolution.
        hidden: units of the first dense layer.
    """

    name: ClassVar[str] = "naive"

    filters: int = 8
    hidden: int = 128

    def build(self, image_size: Size, channels: int, classes: int) -> nn.Module:
        first, size = entrance(image_size, channels, self.filters)
        features = self.filters * size[0] * size[1]
        hidden = bounded(self.hidden, features)
        return channels_last(
            first,
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(features, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, classes),
        )

    def __str__(self) -> str:
        return f"naive: a convolution of {self.filters}, dense {self.hidden}"


@dataclass(frozen=True)
class DeepConfig:
    """Small convolutions on top of each other: edges, then corners, then parts (Simonyan and Zisserman 2015).

    Attributes:
        widths: filters of each convolution.
        hidden: units of the dense layer.
    """

    name: ClassVar[str] = "deep"

    widths: tuple[int, ...] = (16, 16, 32)
    hidden: int = 64

    def build(self, image_size: Size, channels: int, classes: int) -> nn.Module:
        first, size = entrance(image_size, channels, self.widths[0])
        layers: list[nn.Module] = [first, nn.ReLU(inplace=True)]
        for inputs, outputs in zip(self.widths, self.widths[1:], strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        features = self.widths[-1] * size[0] * size[1]
        hidden = bounded(self.hidden, features)
        layers += [nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, classes)]
        return channels_last(*layers)

    def __str__(self) -> str:
        return f"deep: convolutions of {'-'.join(map(str, self.widths))}, dense {self.hidden}"


@dataclass(frozen=True)
class StagesConfig:
    """What the rungs from ``pooled`` on share: stages of convolutions, then one dense layer.

    The first convolution of a stage is followed by the maximum of every 2×2 positions, as long as three a side remain.
    What comes behind then sees twice as far, costs a quarter, and does not mind where exactly something was. The
    maximum is taken before normalisation and ReLU: that leaves less for them to do.

    Attributes:
        stages: for each stage the filters of its convolutions. So few of them that a minute of a laptop is enough for
            an idea to show: with twice as many, a third of the images are seen in it, and less is learnt.
        dropout: share of the features that are blanked at random in every training step, so that none of them can
            rely on another (Srivastava et al. 2014, JMLR 15).
        norm: whether each convolution's outputs are brought to mean 0 and variance 1 over the batch, which lets the
            layers learn at their own pace and at higher rates (Ioffe and Szegedy 2015, arXiv:1502.03167).
        shortcuts: whether a stage's later convolutions only add to what came in, so that the gradient has a way past
            them (He et al. 2016, arXiv:1512.03385).
    """

    name: ClassVar[str] = "stages"

    stages: tuple[tuple[int, ...], ...] = ((16, 16), (32, 32), (64, 64))
    dropout: float = 0.0
    norm: bool = False
    shortcuts: bool = False

    def build(self, image_size: Size, channels: int, classes: int) -> nn.Module:
        layers: list[nn.Module] = []
        inputs, size = channels, image_size
        for stage in self.stages:
            for place, outputs in enumerate(stage):
                if not layers:
                    convolution, size = entrance(image_size, channels, outputs, bias=not self.norm)
                else:
                    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not self.norm)
                block: list[nn.Module] = [convolution]
                if place == 0 and min(size) >= 6:
                    block.append(nn.MaxPool2d(2))
                    size = size[0] // 2, size[1] // 2
                block += [nn.BatchNorm2d(outputs, momentum=MOMENTUM)] if self.norm else []
                block.append(nn.ReLU(inplace=True))
                layers += [Shortcut(*block)] if self.shortcuts and place and inputs == outputs else block
                inputs = outputs
        layers.append(nn.Flatten())
        if self.dropout:
            layers.append(nn.Dropout(self.dropout))
        layers.append(nn.Linear(inputs * size[0] * size[1], classes))
        return channels_last(*layers)

    def __str__(self) -> str:
        stages = " | ".join("-".join(map(str, widths)) for widths in self.stages)
        more = [f"dropout {self.dropout:g}"] if self.dropout else []
        more += ["batch norm"] if self.norm else []
        more += ["shortcuts"] if self.shortcuts else []
        return f"stages {stages}" + (f" ({', '.join(more)})" if more else "")


class Shortcut(nn.Sequential):
    """Some layers whose result is added to their input."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = x_NCHW
        for layer in self:
            y_NCHW = layer(y_NCHW)
        return x_NCHW + y_NCHW


def entrance(image_size: Size, channels: int, filters: int, bias: bool = True) -> tuple[nn.Conv2d, Size]:
    """The first convolution, 3×3 where the images are small, and the height and width that it leaves."""
    stride = max(1, round(image_size[0] / POSITIONS)), max(1, round(image_size[1] / POSITIONS))
    kernel = max(3, 2 * (stride[0] // 2) + 1), max(3, 2 * (stride[1] // 2) + 1)
    padding = kernel[0] // 2, kernel[1] // 2
    convolution = nn.Conv2d(channels, filters, kernel, stride, padding, bias=bias)
    return convolution, (math.ceil(image_size[0] / stride[0]), math.ceil(image_size[1] / stride[1]))


def bounded(hidden: int, features: int) -> int:
    """The units of a dense layer behind so many features."""
    return max(1, min(hidden, LARGEST_DENSE // features))


def channels_last(*layers: nn.Module) -> nn.Module:
    """The layers one after the other, with their filters in the order in which a CPU computes them fastest."""
    network: nn.Module = nn.Sequential(*layers)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
