"""The fast family: convolutional networks that learn much in few passes over small images.

The shape follows the CIFAR-10 speed-run networks (Keller Jordan, "94% on CIFAR-10 in 3.29 Seconds on a
Single GPU", arXiv:2404.00498): a frozen whitening convolution, stages of convolution, pooling, batch
normalisation and activation, an initialisation that passes the input through, and a scaled linear head.
Where time is short, the activation is a ReLU instead of their GELU, which takes five times as long on a CPU and pays in
longer trainings (benchmarks/2026-11-26-recipe.md), and the stem leaves half of the resolution and the stage that would
work on all of it is left out: see "Half of the resolution" in benchmarks/2026-11-26.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rung.models.convolution import Conv3x3

# From which the stem's filters are computed, at about this number.
PATCHES = 100_000
# Side of the patches, at most: larger ones are looked at coarsely. The time is the third power of the numbers in a
# patch, and what varies most in images is coarse.
FINE = 17
# Of the head's weights at the start. Larger ones have to be unlearnt, and with smaller ones the gradient is late to
# reach the layers below.
HEAD_SPREAD = 0.3

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu_, "gelu": F.gelu}


@dataclass(frozen=True)
class FastConfig:
    """The shape of a :class:`FastNetwork`.

    Attributes:
        stages: for each stage the output channels of its convolutions; the first of them is followed by
            a 2×2 max pooling, in the last stages first: in as many as leave three pixels a side.
        stem_size: side of the whitening patches in pixels.
        stem_stride: distance between them in pixels; 1 keeps the resolution.
        stem_filters: how many principal components of the patches are kept, at most; the stem has
            twice as many channels, one for each sign.
        shortcuts: whether a convolution with as many inputs as outputs is added to its input.
        whitening: whether the stem is that of the training images' patches, and frozen; else it learns like any other.
        norm: whether there is batch normalisation; else convolutions have a bias.
        pooling: whether sides are halved by max pooling; else by convolutions of stride 2.
        activation: ``"relu"`` or ``"gelu"``.
    """

    name: ClassVar[str] = "fast"

    stages: tuple[tuple[int, ...], ...] = ((32, 32), (64, 64), (128, 128))
    stem_size: int = 2
    stem_stride: int = 1
    stem_filters: int = 24
    shortcuts: bool = False
    whitening: bool = True
    norm: bool = True
    pooling: bool = True
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"an activation is one of {', '.join(ACTIVATIONS)}, not {self.activation!r}")

    def build(self, image_size: tuple[int, int], channels: int, classes: int) -> FastNetwork:
        return FastNetwork(self, image_size, channels, classes)

    def __str__(self) -> str:
        stages = " | ".join("-".join(map(str, widths)) for widths in self.stages)
        stem = "whitening" if self.whitening else "stem"
        more = f"{', shortcuts' if self.shortcuts else ''}{', GELU' if self.activation == 'gelu' else ''}"
        return f"fast {stages} ({stem} {self.stem_size}×{self.stem_size}, stride {self.stem_stride}{more})"


def _coarser(size: int) -> int:
    """How many pixels a side of a patch are looked at as one."""
    return math.ceil(size / FINE)


class Whitening(nn.Conv2d):
    """A frozen convolution whose outputs are uncorrelated and of equal variance on the training images.

    Its filters are the principal components of image patches, scaled to unit variance, with both signs so
    that the activation behind it loses nothing. Nothing in it learns, so that the backward pass ends at the
    convolution behind it: a sixth of a step's time on a CPU.
    """

    def __init__(self, channels: int, size: int, stride: int, filters: int) -> None:
        filters = min(filters, channels * (size // _coarser(size)) ** 2)
        super().__init__(channels, 2 * filters, size, stride, bias=False)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def initialise(self, images_NCHW: Tensor, floor: float = 5e-4) -> None:
        """Set the filters from normalised training images; ``floor`` is added to the variances."""
        coarser = _coarser(self.kernel_size[0])
        if coarser > 1:
            images_NCHW = F.avg_pool2d(images_NCHW, coarser)
        size = self.kernel_size[0] // coarser
        # Some patches of every image, rather than all of some images, and no copy of those that are not wanted.
        pixels = len(images_NCHW) * images_NCHW.shape[2] * images_NCHW.shape[3]
        apart = max(1, size // 2, math.isqrt(pixels // PATCHES))
        patches = images_NCHW.unfold(2, size, apart).unfold(3, size, apart)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1).double()
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = len(self.weight) // 2
        components = (components / (variances.clamp(min=0) + floor).sqrt()).T.flip(0)[:filters]
        components = components.view(filters, -1, size, size).float()
        if coarser > 1:
            whole = self.kernel_size[0]
            components = F.interpolate(components, size=(whole, whole), mode="bilinear") * (size / whole) ** 2
        self.weight.copy_(torch.cat([components, -components]))


class ConvBlock(nn.Module):
    """3×3 convolution, optional 2×2 max pooling, batch normalisation, activation.

    The pooling stands before the normalisation because there it leaves less to normalise. The
    normalisation learns a shift but no scale: the next convolution has that freedom already.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        pool: bool,
        shortcut: bool,
        norm: bool = True,
        max_pool: bool = True,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.activation = activation
        stride = 2 if pool and not max_pool else 1
        self.conv = Conv3x3(inputs, outputs, stride, bias=not norm)
        # Passing the input through at the start lets the gradient reach every layer from the first step.
        nn.init.dirac_(self.conv.weight[: min(inputs, outputs)].data)
        self.norm: nn.Module = nn.Identity()
        if norm:
            self.norm = nn.BatchNorm2d(outputs, momentum=0.4)
            self.norm.weight.requires_grad_(False)
        self.pool = pool and max_pool
        self.shortcut = shortcut

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = self.conv(x_NCHW)
        if self.pool:
            y_NCHW = F.max_pool2d(y_NCHW, 2)
        y_NCHW = ACTIVATIONS[self.activation](self.norm(y_NCHW))
        return x_NCHW + y_NCHW if self.shortcut else y_NCHW


class FastNetwork(nn.Module):
    """The network that a :class:`FastConfig` describes.

    Args:
        config: its shape.
        image_size: height and width of the images in pixels.
        channels: of the images, 1 or 3.
        classes: number of logits.
    """

    def __init__(self, config: FastConfig, image_size: tuple[int, int], channels: int, classes: int) -> None:
        super().__init__()
        side = min(image_size)
        stem_size = min(config.stem_size, side)
        self.stem = Whitening(channels, stem_size, config.stem_stride, config.stem_filters)
        self.whitening = config.whitening
        self.stem.weight.requires_grad_(not config.whitening)
        side = (side - stem_size) // config.stem_stride + 1
        blocks: list[nn.Module] = []
        inputs = self.stem.out_channels
        poolings = int(math.log2(max(1.0, side / 3)))
        for stage, widths in enumerate(config.stages):
            for place, outputs in enumerate(widths):
                pool = place == 0 and stage >= len(config.stages) - poolings
                shortcut = config.shortcuts and not pool and inputs == outputs
                blocks.append(
                    ConvBlock(inputs, outputs, pool, shortcut, config.norm, config.pooling, config.activation)
                )
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, classes, bias=False)
        nn.init.normal_(self.head.weight, std=HEAD_SPREAD)
        self._activate = ACTIVATIONS[config.activation]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def initialise(self, images_NCHW: Tensor) -> None:
        """Fit the whitening stem to normalised training images, float (N, C, H, W)."""
        if self.whitening:
            self.stem.initialise(images_NCHW)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = self._activate(self.stem(x_NCHW))
        x_NCHW = self.blocks(x_NCHW)
        logits: Tensor = self.head(x_NCHW.amax((2, 3))) / 9
        return logits
