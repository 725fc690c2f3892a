"""3×3 convolutions whose weights learn faster on a processor with a matrix unit (Intel's AMX).

For the gradient of the weights oneDNN sums along one row of a map at a time, and the unit takes 32 products at once: a
map of 7 pixels a side fills a fifth of it, one of 3 a tenth. Measured with 250 images on two cores, that gradient takes
four to seventeen times as long as the convolution itself, and is half of a training step. Here images of the batch are
put side by side, with a column of zeros between them, into maps that are wide enough. The sums are the same, in another
order (``benchmarks/2026-11-26.md``).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Maps less wide are put side by side: at 15 pixels it pays for some numbers of channels only.
NARROW = 12
# Columns that images side by side take together, at most.
TOGETHER = 512


def convolve(x_NCHW: Tensor, weight: Tensor) -> Tensor:
    """The convolution with a 3×3 kernel, stride 1 and one pixel of padding, in bfloat16; the weights may be floats."""
    output: Tensor = _Stacked.apply(x_NCHW, weight)  # type: ignore[no-untyped-call]
    return output


@cache
def has_matrix_unit() -> bool:
    """Whether this processor multiplies tiles of bfloat16."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, weight: Tensor) -> Tensor:
        x_NCHW, halved = x_NCHW.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x_NCHW, halved)
        return F.conv2d(x_NCHW, halved, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (gradient_NCHW,) = gradients
        x_NCHW, weight = ctx.saved_tensors
        to_input = None
        if ctx.needs_input_grad[0]:
            to_input = _backward(gradient_NCHW, x_NCHW, weight, (True, False))[0]
        return to_input, weight_gradient(x_NCHW, gradient_NCHW, weight).float()


def weight_gradient(x_NCHW: Tensor, gradient_NCHW: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the weights of a 3×3 convolution of stride 1 with one pixel of padding.

    Args:
        x_NCHW: what was convolved.
        gradient_NCHW: of what came out.
        weight: what it was convolved with; its values do not matter.
    """
    found: Tensor = _backward(side_by_side(gradient_NCHW), side_by_side(x_NCHW), weight, (False, True))[1]
    return found


def _backward(gradient_NCHW: Tensor, x_NCHW: Tensor, weight: Tensor, of: tuple[bool, bool]) -> Any:
    """Gradients of what was convolved and of the weights, those of the two that are asked for."""
    return torch.ops.aten.convolution_backward(
        gradient_NCHW, x_NCHW, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [*of, False]
    )


def side_by_side(x_NCHW: Tensor) -> Tensor:
    """Some images in one, each with a column of zeros at its right: (groups, C, H, some · (W + 1)), channels last.

    Within :data:`TOGETHER` columns there are as few groups as possible; where the last is not full, zeros are. What a
    kernel of three columns sees beyond an image is that column, or the padding: zeros, as if the image were alone.
    """
    count, channels, height, width = x_NCHW.shape
    groups = -(-count // max(1, TOGETHER // (width + 1)))
    some = -(-count // groups)
    wide = x_NCHW.new_zeros(groups, height, some, width + 1, channels)
    images_NHWC = x_NCHW.permute(0, 2, 3, 1)
    full = count // some
    filled = images_NHWC[: full * some].reshape(full, some, height, width, channels)
    wide[:full, :, :, :width] = filled.transpose(1, 2)
    if full < groups:
        wide[full, :, : count - full * some, :width] = images_NHWC[full * some :].transpose(0, 1)
    return wide.view(groups, height, some * (width + 1), channels).permute(0, 3, 1, 2)
