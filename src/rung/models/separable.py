"""The convolutions of a separable block, depthwise and pointwise, with backward passes that suit a CPU.

oneDNN, which does torch's convolutions on x86, has fast code for the gradient of a depthwise kernel of up to three
columns, and a plain loop for wider ones, three to sixty times as slow; in bfloat16 also for the gradient of the input
of one with a stride. Here a wide kernel is learnt as two narrow ones side by side, each from the columns that it
meets, and what goes back through a stride is a convolution of the gradient with zeros between its numbers. On small
maps in bfloat16, pointwise convolutions are the matrix products that they are: as convolutions, the gradients of their
weights take two to three times as long. Fine-tuning EfficientNet-Lite0 becomes three times as fast in bfloat16
(``benchmarks/steps.py separable``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rung.models.learning import computed_in, learns_on_cpu

# Columns of a kernel from which on the library's own gradient is slower than the detour, by what the network computes
# in; and of the widest whose halves it is quick with.
LEAST, MOST = {torch.bfloat16: 4, torch.float32: 5}, 6
# Positions of a map up to which a pointwise convolution in bfloat16 is learnt as a matrix product.
SMALL = 64


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with as many groups as channels, one filter each, and ``(kernel - 1) // 2`` rows of padding."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, padding=(kernel - 1) // 2, groups=channels)

    def forward(self, input: Tensor) -> Tensor:
        if not self._learns_slowly(input):
            return super().forward(input)
        dtype = computed_in(input)
        assert self.bias is not None
        given = (part.to(dtype) for part in (input, self.weight, self.bias))
        output: Tensor = _Depthwise.apply(*given, self.stride[0])  # type: ignore[no-untyped-call]
        return output

    def _learns_slowly(self, input: Tensor) -> bool:
        """Whether torch's own gradient would be the slower one."""
        least = LEAST.get(computed_in(input))
        return least is not None and least <= self.kernel_size[1] <= MOST and _learns_with_onednn(self, input)


class PointwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` of single pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, input: Tensor) -> Tensor:
        learns = _learns_with_onednn(self, input) and computed_in(input) == torch.bfloat16
        if not (learns and input.shape[2:].numel() <= SMALL):
            return super().forward(input)
        x_NHWC = input.permute(0, 2, 3, 1)
        return F.linear(x_NHWC, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def _learns_with_onednn(layer: nn.Conv2d, input: Tensor) -> bool:
    return learns_on_cpu(layer, input) and _has_onednn()


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call, no-any-return]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x_NCHW, weight)
        ctx.stride = stride
        return F.conv2d(x_NCHW, weight, bias, stride, (weight.shape[2] - 1) // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x_NCHW, weight = ctx.saved_tensors
        (gradient_NCHW,) = gradients
        to_input = None
        if ctx.needs_input_grad[0]:
            to_input = input_gradient(x_NCHW, weight, gradient_NCHW, ctx.stride)
        to_weight = weight_gradient(x_NCHW, weight, gradient_NCHW, ctx.stride)
        return to_input, to_weight, gradient_NCHW.sum((0, 2, 3)), None


def input_gradient(x_NCHW: Tensor, weight: Tensor, gradient_NCHW: Tensor, stride: int) -> Tensor:
    """The gradient, of the shape of ``x_NCHW``, of what was convolved.

    Args:
        x_NCHW: what was convolved, with ``(kernel - 1) // 2`` rows of padding.
        weight: (C, 1, kernel, kernel).
        gradient_NCHW: of what came out.
        stride: of the convolution.
    """
    channels, kernel = len(weight), weight.shape[2]
    padding = (kernel - 1) // 2
    if stride > 1 and x_NCHW.dtype != torch.bfloat16:
        return _onednn(x_NCHW, weight, gradient_NCHW, stride, padding, wanted=0)
    if stride > 1:
        height, width = (size + 2 * padding - kernel + 1 for size in x_NCHW.shape[2:])
        shape = (len(x_NCHW), channels, height, width)
        apart = torch.empty(shape, dtype=x_NCHW.dtype, memory_format=torch.channels_last).zero_()
        apart[:, :, ::stride, ::stride] = gradient_NCHW
        gradient_NCHW = apart
    # What a pixel did to the outputs around it: the same convolution, with the kernel turned around.
    return F.conv2d(gradient_NCHW, weight.flip(2, 3), padding=kernel - 1 - padding, groups=channels)


def weight_gradient(x_NCHW: Tensor, weight: Tensor, gradient_NCHW: Tensor, stride: int) -> Tensor:
    """The gradient, of the shape of ``weight``, which has up to six columns; arguments as of :func:`input_gradient`."""
    kernel = weight.shape[2]
    padding = (kernel - 1) // 2
    height, width = x_NCHW.shape[2:]
    rows, columns = ((size - 1) * stride for size in gradient_NCHW.shape[2:])
    half = (kernel + 1) // 2
    parts = []
    for first, part in ((0, weight[..., :half]), (half, weight[..., half:])):
        # The rows and columns that this part of the kernel meets. Rows are padded here, too: its own padding is slow
        # where a map is hardly larger than the kernel.
        left, top = padding - first, padding
        right, bottom = columns + part.shape[3] - left - width, rows + kernel - top - height
        met_NCHW = F.pad(x_NCHW, (left, right, top, bottom))
        parts.append(_onednn(met_NCHW, part, gradient_NCHW, stride, padding=0, wanted=1))
    return torch.cat(parts, 3)


def _onednn(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int, *, wanted: int) -> Tensor:
    """The library's own gradient of what was convolved (``wanted`` 0) or of the kernel (1)."""
    strides, paddings, mask = [stride] * 2, [padding] * 2, [wanted == 0, wanted == 1, False]
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, strides, paddings, [1, 1], False, [0, 0], len(weight), mask
    )[wanted]
    return found
