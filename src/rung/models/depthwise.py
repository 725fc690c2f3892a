"""Convolutions of each channel by itself, with a backward pass that suits a CPU.

For a kernel of five rows on a map that is hardly larger, torch's own (oneDNN on AVX2) takes three to twelve times as
long as below for the gradient of the kernel: half of a training step of the upper six blocks of EfficientNet-Lite0
(``benchmarks/steps.py depthwise``). Here that is summed tap by tap: a number of the kernel moves with the sum, over
images and positions, of the gradient times the input that it was multiplied with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Rows of a kernel from which on, and positions of a map up to which, the sums are faster.
LEAST_KERNEL, MOST_POSITIONS = 5, 36


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with as many groups as channels, one filter each, and ``(kernel - 1) // 2`` rows of padding."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, padding=(kernel - 1) // 2, groups=channels)

    def forward(self, input: Tensor) -> Tensor:
        if self._learns_slowly(input):
            output: Tensor = _Depthwise.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return output
        return super().forward(input)

    def _learns_slowly(self, input: Tensor) -> bool:
        """Whether torch's own gradient would be the slower one."""
        if not (torch.is_grad_enabled() and self.training and self.weight.requires_grad):
            return False
        if self.kernel_size[0] < LEAST_KERNEL or self.stride != (1, 1) or input.shape[2:].numel() > MOST_POSITIONS:
            return False
        same = input.dtype == self.weight.dtype and not torch.is_autocast_enabled("cpu")
        return same and input.device.type == "cpu"


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x_NCHW, weight)
        return F.conv2d(x_NCHW, weight, bias, padding=(weight.shape[2] - 1) // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x_NCHW, weight = ctx.saved_tensors
        (gradient_NCHW,) = gradients
        to_input = None
        if ctx.needs_input_grad[0]:
            # What a pixel did to the outputs around it: the same convolution, with the kernel turned around.
            padding = weight.shape[2] - 1 - (weight.shape[2] - 1) // 2
            to_input = F.conv2d(gradient_NCHW, weight.flip(2, 3), padding=padding, groups=len(weight))
        return to_input, weight_gradient(x_NCHW, gradient_NCHW, weight.shape[2]), gradient_NCHW.sum((0, 2, 3))


def weight_gradient(x_NCHW: Tensor, gradient_NCHW: Tensor, kernel: int) -> Tensor:
    """The gradient (C, 1, kernel, kernel) of the kernel of a depthwise convolution with stride 1.

    Args:
        x_NCHW: what was convolved.
        gradient_NCHW: of what came out, of the same shape.
        kernel: its rows and columns, an odd number.
    """
    height, width = x_NCHW.shape[2:]
    x_NHWC, gradient_NHWC = x_NCHW.permute(0, 2, 3, 1), gradient_NCHW.permute(0, 2, 3, 1)
    sums = x_NCHW.new_zeros(kernel, kernel, x_NCHW.shape[1])
    for i in range(kernel):
        from_rows, to_rows = _meeting(i - kernel // 2, height)
        for j in range(kernel):
            from_columns, to_columns = _meeting(j - kernel // 2, width)
            products = x_NHWC[:, from_rows, from_columns] * gradient_NHWC[:, to_rows, to_columns]
            sums[i, j] = products.sum((0, 1, 2))
    return sums.permute(2, 0, 1).unsqueeze(1)


def _meeting(offset: int, size: int) -> tuple[slice, slice]:
    """Of ``size`` positions in a row: the inputs that a tap meets, and the outputs that it meets them for."""
    first, last = max(0, offset), max(0, min(size, size + offset))
    return slice(first, last), slice(max(0, -offset), max(0, -offset) + max(0, last - first))
