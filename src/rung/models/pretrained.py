"""A network that starts from what another one knows: its backbone, and linear layers of our own on the feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rung.models.backbones import LITE0, backbone

if TYPE_CHECKING:
    from rung.models.engine import Engine

Learns = Literal["head", "upper", "all"]
# Share of the backbone's parts, counted from the top, that learn where the upper ones do. Below them are the largest
# maps, whose gradients take two fifths of a step; keeping them as they are cost nothing that could be measured.
UPPER = 2 / 3
# Images from which on it is worth it to compile the backbone.
MANY = 200


@dataclass(frozen=True)
class PretrainedConfig:
    """The shape of a :class:`PretrainedNetwork`, and which of it learns.

    Attributes:
        backbone: see :func:`rung.models.backbones.backbone`.
        side: pixels a side to which the network brings images that have others; 0 leaves all as they are.
        learns: ``"head"``, the linear layers alone; ``"upper"``, the upper blocks as well; or ``"all"``.
    """

    name: ClassVar[str] = "pretrained"

    backbone: str = LITE0
    side: int = 0
    learns: Learns = "head"

    def build(self, image_size: tuple[int, int], channels: int, classes: int) -> PretrainedNetwork:
        return PretrainedNetwork(self, image_size, channels, classes)

    def __str__(self) -> str:
        learning = {"head": "only its head learns", "upper": "its upper blocks learn", "all": "all of it learns"}
        size = f", images at {self.side}×{self.side}" if self.side else ""
        return f"pretrained {self.backbone} ({learning[self.learns]}{size})"


class PretrainedNetwork(nn.Module):
    """The network that a :class:`PretrainedConfig` describes.

    Args:
        config: its shape.
        image_size: height and width of the images in pixels.
        channels: of the images, 1 or 3.
        classes: number of logits.

    Attributes:
        images_at_once: how many images to predict together: on a CPU the maps of more do not stay in its cache.
    """

    images_at_once = 25
    backbone: Any
    _engine: Engine | None = None

    def __init__(self, config: PretrainedConfig, image_size: tuple[int, int], channels: int, classes: int) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.resized = config.side > 0 and image_size != (config.side, config.side)
        self.backbone = backbone(config.backbone).build(channels)
        # One layer a map; their sum is what one layer on all features would give.
        self.heads = nn.ModuleList(nn.Linear(width, classes, bias=i == 0) for i, width in enumerate(self.widths))
        steps: list[nn.Module] = self.backbone.steps
        learning = {"head": 0, "upper": round(UPPER * len(steps)), "all": len(steps)}[config.learns]
        self.backbone.requires_grad_(False)
        for step in steps[len(steps) - learning :]:
            step.requires_grad_(True)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.image_size = image_size

    @property
    def widths(self) -> tuple[int, ...]:
        """How many features each map gives."""
        widths: tuple[int, ...] = self.backbone.widths
        return widths

    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of the pixels, 0 to 255, one value a channel, that the backbone learnt with."""
        known = backbone(self.config.backbone)
        if self.channels == 3:
            return list(known.mean), list(known.std)
        return [sum(known.mean) / 3], [sum(known.std) / 3]

    def initialise(self, images_NCHW: Tensor) -> None:
        """Take the weights that the backbone was published with; the images are not looked at."""
        self.backbone.load_state_dict(backbone(self.config.backbone).weights(self.channels))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._forget()

    def rate_shares(self) -> dict[str, float]:
        """Shares of the peak learning rate by the names of weights: 1 for the heads, less and less below them.

        Layers near the pixels know what holds for all images (Howard and Ruder 2018, arXiv:1801.06146, section 3.2).
        """
        places = {id(p): i for i, step in enumerate(reversed(self.backbone.steps)) for p in step.parameters()}
        return {
            name: 0.3 * 0.93 ** places[id(p)] if id(p) in places else 1.0
            for name, p in self.named_parameters()
            if p.requires_grad
        }

    def expect(self, images: int, precision: str) -> None:
        """Get ready to predict so many images in that precision: for many, a faster engine may be worth its start."""
        possible = not self.training and precision == "float32" and next(self.parameters()).device.type == "cpu"
        if possible and images >= MANY and self._engine is None:
            from rung.models.engine import compiled

            self._engine = compiled(_Pooled(self), self.channels, self.image_size)

    @property
    def engine(self) -> str:
        """What predicts: ``"torch"``, or the faster one that :meth:`expect` has started."""
        return "torch" if self._engine is None else "onnxruntime"

    def train(self, mode: bool = True) -> PretrainedNetwork:
        if mode and self.config.learns != "head":
            self._forget()  # It has the weights as they were.
        return super().train(mode)

    def _forget(self) -> None:
        self._engine = None

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        self._forget()
        super()._load_from_state_dict(*args, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}  # A copy may get other weights, and a process starts its own.

    def pooled(self, x_NCHW: Tensor) -> list[Tensor]:
        """The mean of every feature map, (N, C) each."""
        predicting = not self.training and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        # The tensor is asked last: where an export traces the network, it has no device.
        if self._engine is not None and predicting and x_NCHW.device.type == "cpu":
            return self._engine(x_NCHW)
        return self._pooled(x_NCHW)

    def _pooled(self, x_NCHW: Tensor) -> list[Tensor]:
        if self.resized:
            size = (self.config.side, self.config.side)
            x_NCHW = F.interpolate(x_NCHW, size=size, mode="bilinear", align_corners=False)
        return [map_NCHW.mean((2, 3)) for map_NCHW in self.backbone(x_NCHW)]

    def features(self, x_NCHW: Tensor) -> Tensor:
        """All features of normalised images, (N, sum of ``widths``)."""
        return torch.cat([values.float() for values in self.pooled(x_NCHW)], 1)

    @torch.no_grad()
    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Take the linear layer with ``weight`` (classes, features) and ``bias`` (classes,)."""
        for head, part in zip(self.heads, torch.split(weight, list(self.widths), 1), strict=True):
            head.weight.copy_(part)  # type: ignore[operator]
        self.heads[0].bias.copy_(bias)  # type: ignore[operator]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        logits = [head(values) for head, values in zip(self.heads, self.pooled(x_NCHW), strict=True)]
        total: Tensor = logits[0]
        for more in logits[1:]:
            total = total + more
        return total


class _Pooled(nn.Module):
    """What :meth:`PretrainedNetwork.pooled` computes, as a module of its own."""

    def __init__(self, network: PretrainedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_NCHW: Tensor) -> list[Tensor]:
        return self.network._pooled(x_NCHW)
