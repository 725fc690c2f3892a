"""Whether a layer learns where it is asked for its output, and in what: then some have gradients of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def learns_on_cpu(layer: nn.Conv2d, input: Tensor) -> bool:
    """Whether a gradient of the layer's weights will be wanted, and a CPU will compute it."""
    return torch.is_grad_enabled() and layer.training and layer.weight.requires_grad and input.device.type == "cpu"


def computed_in(input: Tensor) -> torch.dtype:
    """What a convolution of ``input`` on a CPU is computed in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
