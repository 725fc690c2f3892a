"""Small networks in which faults can be planted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


@dataclass(frozen=True)
class PlainConfig:
    """Convolutions (or dense layers) on top of each other, with every knob that can be turned the wrong way.

    Attributes:
        dense: dense layers instead of convolutions.
        depth, width: how many layers, of how many channels.
        activation: ``"relu"``, ``"sigmoid"`` or ``"tanh"``.
        norm: whether batch normalisation stands in front of the activation.
        gain: factor of the initial weights; 1 is He's initialisation (Xavier's behind other activations than ReLU).
        constant: every weight starts at this value instead.
        bias: every bias starts at this value.
        norm_momentum: share of a batch in the running statistics.
        input_scale: the normalised images are multiplied by it.
    """

    name: ClassVar[str] = "plain"

    dense: bool = False
    depth: int = 3
    width: int = 16
    activation: str = "relu"
    norm: bool = True
    gain: float = 1.0
    constant: float | None = None
    bias: float = 0.0
    norm_momentum: float = 0.1
    input_scale: float = 1.0

    def build(self, image_size: tuple[int, int], channels: int, classes: int) -> nn.Module:
        return PlainNetwork(self, image_size, channels, classes)

    def __str__(self) -> str:
        layers = "dense" if self.dense else "convolutions"
        return f"{self.depth} {layers} of {self.width}, {self.activation}{', norm' if self.norm else ''}"


class PlainNetwork(nn.Module):
    """The network that a :class:`PlainConfig` describes."""

    def __init__(self, config: PlainConfig, image_size: tuple[int, int], channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()] if config.dense else []
        inputs = channels * image_size[0] * image_size[1] if config.dense else channels
        for place in range(config.depth):
            if config.dense:
                layers.append(nn.Linear(inputs, config.width))
                norm: type[nn.Module] = nn.BatchNorm1d
            else:
                layers.append(nn.Conv2d(inputs, config.width, 3, padding=1))
                norm = nn.BatchNorm2d
            if config.norm:
                layers.append(norm(config.width, momentum=config.norm_momentum))
            layers.append(ACTIVATIONS[config.activation]())
            if not config.dense and place < 1:
                layers.append(nn.MaxPool2d(2))
            inputs = config.width
        self.input_scale = config.input_scale
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)
        self._initialise(config)

    @torch.no_grad()
    def _initialise(self, config: PlainConfig) -> None:
        for module in self.modules():
            if not isinstance(module, nn.Conv2d | nn.Linear):
                continue
            if config.activation == "relu":
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(module.weight)
            if module is self.head:
                module.weight.mul_(0.5)
            else:
                module.weight.mul_(config.gain)
            if config.constant is not None:
                nn.init.constant_(module.weight, config.constant)
            nn.init.constant_(module.bias, 0.0 if module is self.head else config.bias)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = self.body(x_NCHW * self.input_scale)
        logits: Tensor = self.head(y.amax((2, 3)) if y.ndim == 4 else y)
        return logits
