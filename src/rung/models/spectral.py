"""3×3 convolutions that learn through the spectra of their maps: half to a third of the arithmetic, in matrix products.

What a convolution does to a map is one product for each frequency of its spectrum, over the channels: for a map of 7
pixels a side 94 products of a number instead of 441. (Mathieu, Henaff and LeCun 2013, "Fast training of convolutional
networks through FFTs", arXiv:1312.5851.) Maps are so small here that a matrix product is the fastest way to their
spectrum; and everything else, the gradients included, is matrix products, too, at which processors are best.

The padding is one pixel of zeros, which a circular convolution of one more than the side leaves at every border. A
product of complex numbers is three of real ones (Gauss): ``p = ac``, ``q = bd`` and ``s = (a + b)(c + d)`` make
``(a + ib)(c + id) = (p - q) + i(s - p - q)``. So the frequencies become real numbers, called products here, three for
each pair of conjugate frequencies and one for each real one; and matrices lead from pixels to them, from kernels to
them, and back. Gradients go through the same matrices transposed. Measured in ``benchmarks/2026-11-27-spectra.md``.

Letters of shapes: N images, C and O channels in and out, H×W pixels, R products, in B blocks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

# Pixels of a map up to which one matrix leads to its spectrum; larger ones are transformed along one side, then the
# other.
AT_ONCE = 81
# What a kernel sees along a side.
AROUND = range(-1, 2)

Array = NDArray[Any]


@dataclass(frozen=True)
class Spectrum:
    """The matrices between maps of one size, kernels, and products.

    Attributes:
        rows: from the rows of pixels to frequencies along the columns, (frequencies, H); None where ``blocks`` does
            both sides at once.
        blocks: from there to the products, (B, R / B, what a block reads).
        kernel: from a kernel's nine weights to the products, (R, 9).
        blocks_back, rows_back: from products to pixels, (B, what a block writes, R / B) and (H, frequencies).
    """

    rows: Tensor | None
    blocks: Tensor
    kernel: Tensor
    blocks_back: Tensor
    rows_back: Tensor | None


def convolve(x_NCHW: Tensor, weight_OC33: Tensor) -> Tensor:
    """The convolution with a 3×3 kernel, stride 1 and one pixel of padding; both of one type, bfloat16 or float.

    It and its gradients differ from torch's by rounding. In bfloat16 that is half a percent of their size, where
    torch's own are off by a sixth of one to a third.
    """
    output: Tensor = _Spectral.apply(x_NCHW, weight_OC33)  # type: ignore[no-untyped-call]
    return output


class _Spectral(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, weight: Tensor) -> Tensor:
        height, width = x_NCHW.shape[2:]
        spectrum = find_spectrum(height, width, x_NCHW.dtype)
        inputs_RNC = _analyse(x_NCHW, spectrum.rows, spectrum.blocks)
        nine_O9C = weight.permute(0, 2, 3, 1).flatten(1, 2)
        kernels_ROC = _packed(_each(spectrum.kernel, nine_O9C).transpose(0, 1))
        ctx.save_for_backward(inputs_RNC, kernels_ROC)
        ctx.size = height, width
        outputs_RNO = inputs_RNC @ kernels_ROC.mT
        return _synthesise(outputs_RNO, spectrum.blocks_back, spectrum.rows_back, height, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (gradient_NOHW,) = gradients
        inputs_RNC, kernels_ROC = ctx.saved_tensors
        height, width = ctx.size
        spectrum = find_spectrum(height, width, gradient_NOHW.dtype)
        outputs_RNO = _analyse(gradient_NOHW, _turned(spectrum.rows_back), spectrum.blocks_back.mT.contiguous())
        to_kernels_ROC = outputs_RNO.mT @ inputs_RNC
        nine_O9C = _each(spectrum.kernel.T.contiguous(), to_kernels_ROC.transpose(0, 1))
        to_weight = nine_O9C.view(len(nine_O9C), 3, 3, -1).permute(0, 3, 1, 2)
        if not ctx.needs_input_grad[0]:
            return None, to_weight
        to_inputs_RNC = outputs_RNO @ kernels_ROC
        blocks, rows = spectrum.blocks.mT.contiguous(), _turned(spectrum.rows)
        return _synthesise(to_inputs_RNC, blocks, rows, height, width), to_weight


def _analyse(x_NCHW: Tensor, rows: Tensor | None, blocks: Tensor) -> Tensor:
    """From maps to products, (R, N, C)."""
    lines = x_NCHW.permute(0, 2, 3, 1).flatten(2)  # (N, H, W · C)
    if rows is not None:
        lines = _each(rows, lines)
    parts = lines.reshape(len(lines), len(blocks), -1, x_NCHW.shape[1])
    return _packed(torch.matmul(blocks, parts).flatten(1, 2).transpose(0, 1))


def _synthesise(products_RNC: Tensor, blocks: Tensor, rows: Tensor | None, height: int, width: int) -> Tensor:
    """From products to maps, (N, C, H, W), channels last."""
    products, count, channels = products_RNC.shape
    lines = blocks @ products_RNC.transpose(0, 1).view(count, len(blocks), products // len(blocks), channels)
    if rows is not None:
        lines = _each(rows, lines.reshape(count, -1, width * channels))
    return lines.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def _each(matrix: Tensor, batch: Tensor) -> Tensor:
    """One matrix times each of a batch: as a batched product, since torch.matmul would copy the batch to fold it."""
    return torch.bmm(matrix.expand(len(batch), *matrix.shape), batch)


def _packed(batch: Tensor) -> Tensor:
    """For the products to come: oneDNN, which multiplies bfloat16, is slow with rows that lie apart; MKL is not."""
    return batch.contiguous() if batch.dtype == torch.bfloat16 else batch


def _turned(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else matrix.T.contiguous()


@lru_cache(maxsize=32)
def find_spectrum(height: int, width: int, dtype: torch.dtype) -> Spectrum:
    """The matrices for maps of that size."""

    def tensor(array: Array) -> Tensor:
        return torch.from_numpy(array).to(dtype)

    find = _at_once if height * width <= AT_ONCE else _one_side_after_the_other
    rows, blocks, kernel, blocks_back, rows_back = find(height, width)
    first, last = (None if array is None else tensor(array) for array in (rows, rows_back))
    return Spectrum(first, tensor(blocks), tensor(kernel), tensor(blocks_back), last)


def _at_once(height: int, width: int) -> tuple[Array | None, Array, Array, Array, Array | None]:
    """One block, of all frequencies but those that are the conjugates of others."""
    n, m = height + 1, width + 1
    found: tuple[list[Array], ...] = [], [], []
    for k, j in itertools.product(range(n), range(m)):
        conjugate = -k % n, -j % m
        if (k, j) > conjugate:
            continue
        alone = (k, j) == conjugate
        # torch's convolution does not turn kernels around, so their waves run the other way.
        read = np.outer(_wave(-k, n, range(height)), _wave(-j, m, range(width))).ravel()
        kernel = np.outer(_wave(k, n, AROUND), _wave(j, m, AROUND)).ravel()
        products = _real(read, kernel, read.conj() / (n * m) * (1 if alone else 2), alone)
        for those, new in zip(found, products, strict=True):
            those.append(new)
    reads, kernels, writes = found
    return None, np.concatenate(reads)[None], np.concatenate(kernels), np.concatenate(writes, 1)[None], None


def _one_side_after_the_other(height: int, width: int) -> tuple[Array | None, Array, Array, Array, Array | None]:
    """A block for each pair of conjugate frequencies of the columns, which reads their real and imaginary part.

    Frequencies lie half way between the usual ones, so that none of an even number of them is real. What goes over one
    end of a map comes in at the other with its sign changed; it is the padding, and zero.
    """
    n, m = 2 * (height // 2 + 1), width + 1
    rows, rows_back = np.zeros((n // 2, 2, height)), np.zeros((height, n // 2, 2))
    blocks, blocks_back = np.zeros((n // 2, 3 * m, 2 * width)), np.zeros((n // 2, 2 * width, 3 * m))
    kernels = np.zeros((n // 2, 3 * m, 9))
    for block, j in itertools.product(range(n // 2), range(m)):
        k = block + 0.5
        down, across = _wave(-k, n, range(height)), _wave(-j, m, range(width))
        rows[block] = down.real, down.imag
        rows_back[:, block] = np.stack([down.real, down.imag], 1) * 2 / n
        read = np.concatenate([across, 1j * across])
        kernel = np.outer(_wave(k, n, AROUND), _wave(j, m, AROUND)).ravel()
        three = slice(3 * j, 3 * j + 3)
        products = _real(read, kernel, read.conj() / m, alone=False)
        blocks[block, three], kernels[block, three], blocks_back[block, :, three] = products
    return rows.reshape(n, -1), blocks, kernels.reshape(-1, 9), blocks_back, rows_back.reshape(-1, n)


def _wave(frequency: float, length: int, places: range) -> Array:
    wave: Array = np.exp(2j * np.pi * frequency * np.array(places) / length)
    return wave


def _real(read: Array, kernel: Array, write: Array, alone: bool) -> tuple[Array, Array, Array]:
    """The real products that are one complex product; or the only one, where a frequency is its own conjugate.

    The number that ``read`` finds in the pixels, times that which ``kernel`` finds in the weights, times ``write``: of
    that the real part is what the pixels get.

    Returns:
        a row for each product: of what is read, of the kernel; and a column for each: of what is written.
    """
    if alone:
        return read.real[None], kernel.real[None], write.real[:, None]
    a, b, c, d, e, f = read.real, read.imag, kernel.real, kernel.imag, write.real, write.imag
    return np.stack([a, b, a + b]), np.stack([c, d, c + d]), np.stack([e + f, f - e, -f], 1)
