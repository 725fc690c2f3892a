"""3×3 convolutions that learn in the fastest of three ways that a CPU has.

All three are the same function with the same gradients but for rounding, and weights know nothing of them: predictions,
exports and other devices use torch's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rung.models import spectral, stacked
from rung.models.learning import computed_in, learns_on_cpu

# Of channels, in and out, and images a step: with fewer, the way to the spectrum and back takes longer than what it
# saves. (``benchmarks/steps.py spectral``)
CHANNELS, IMAGES = 64, 64
# Maps of more pixels than are transformed at once need this product of channels, in and out; and the most pixels.
LARGE_CHANNELS, LARGE = 64 * 256, 400


class Conv3x3(nn.Conv2d):
    """``nn.Conv2d`` with a kernel of 3×3 and one pixel of padding; the stride may be 2."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, stride, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if not (self._is_plain() and input.ndim == 4 and learns_on_cpu(self, input)):
            return super().forward(input)
        dtype = computed_in(input)
        if dtype == torch.bfloat16 and stacked.has_matrix_unit():
            # How the products of a spectrum do on such a unit is not known.
            return stacked.convolve(input, self.weight) if input.shape[3] < stacked.NARROW else super().forward(input)
        known = {input.dtype, dtype} <= {torch.bfloat16, torch.float32}
        if len(input) >= IMAGES and known and self.spectrum_size(*input.shape[2:]):
            return spectral.convolve(input.to(dtype), self.weight.to(dtype))
        return super().forward(input)

    def spectrum_size(self, height: int, width: int) -> int:
        """How many numbers the spectrum of all kernels has, where the layer learns through it on such maps; else 0."""
        pixels, channels = height * width, self.in_channels * self.out_channels
        small = pixels <= spectral.AT_ONCE
        wide = min(self.in_channels, self.out_channels) >= CHANNELS and (small or channels >= LARGE_CHANNELS)
        if not (self._is_plain() and wide and pixels <= LARGE):
            return 0
        return channels * len(spectral.find_spectrum(height, width, torch.float32).kernel)

    def _is_plain(self) -> bool:
        return self.bias is None and self.stride == (1, 1)
