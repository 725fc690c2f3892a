from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rung.models import stacked
from rung.models.convolution import CHANNELS, IMAGES, Conv3x3
from rung.models.fast import FastConfig


def ways(output: Tensor) -> list[str]:
    """What led to ``output``, by the names of the backward functions."""
    seen, waiting = [], [output.grad_fn]
    while waiting:
        function = waiting.pop()
        seen.append(type(function).__name__)
        waiting += [before for before, _ in function.next_functions if before is not None]
    return seen


def learn(config: FastConfig, images: Tensor, dtype: torch.dtype) -> tuple[list[str], Tensor, list[Tensor]]:
    """A step of a network: what its convolutions are, its logits and gradients."""
    torch.manual_seed(0)
    network = config.build((16, 16), 3, 3).train()
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        logits = network(images)
    seen = ways(logits)
    logits.float().square().sum().backward()
    return seen, logits.detach(), [p.grad for p in network.parameters() if p.grad is not None]


def alike(one: list[Tensor], other: list[Tensor], least: float = 0.999) -> None:
    for first, second in zip(one, other, strict=True):
        assert first.dtype == second.dtype == torch.float32
        assert F.cosine_similarity(first.flatten(), second.flatten(), 0) > least


def test_a_network_learns_the_same_with_a_matrix_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = FastConfig(stages=((4, 4), (6, 6)))
    images = torch.randn(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(stacked, "has_matrix_unit", lambda: False)
    plain, logits, gradients = learn(config, images, torch.bfloat16)
    monkeypatch.setattr(stacked, "has_matrix_unit", lambda: True)
    with_unit, same_logits, same_gradients = learn(config, images, torch.bfloat16)
    assert "_StackedBackward" not in plain and with_unit.count("_StackedBackward") == 3
    assert torch.equal(logits, same_logits)
    alike(gradients, same_gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_learns_the_same_through_spectra(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FastConfig(stages=((64, 64), (96, 96)))
    images = torch.randn(IMAGES, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(stacked, "has_matrix_unit", lambda: False)
    with_spectra, logits, gradients = learn(config, images, dtype)
    monkeypatch.setattr("rung.models.convolution.IMAGES", IMAGES + 1)
    plain, same_logits, same_gradients = learn(config, images, dtype)
    assert with_spectra.count("_SpectralBackward") == 3 and "_SpectralBackward" not in plain
    assert (logits - same_logits).norm() < (0.05 if dtype == torch.bfloat16 else 1e-4) * logits.norm()
    # Which pixel of four is the largest changes with the rounding: between bfloat16 and float32 they are 0.98 alike.
    alike(gradients, same_gradients, 0.98 if dtype == torch.bfloat16 else 0.999)


def test_elsewhere_it_is_the_usual_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(IMAGES, CHANNELS, 7, 7)
    usual, strided = Conv3x3(CHANNELS, CHANNELS), Conv3x3(CHANNELS, CHANNELS, stride=2, bias=False)
    assert torch.equal(usual(x), F.conv2d(x, usual.weight, usual.bias, padding=1))
    assert strided(x).shape == (IMAGES, CHANNELS, 4, 4)
    bare = Conv3x3(CHANNELS, CHANNELS, bias=False)
    large = torch.randn(IMAGES, CHANNELS, 15, 15)
    asleep = Conv3x3(CHANNELS, CHANNELS, bias=False).eval()
    vast = Conv3x3(CHANNELS, 4 * CHANNELS, bias=False), torch.randn(IMAGES, CHANNELS, 21, 21)
    for layer, given in ((usual, x), (strided, x), (bare, x[1:]), (bare, large), (asleep, x), vast, (bare, x[0])):
        assert "ConvolutionBackward0" in (found := ways(layer(given))) and "_SpectralBackward" not in found
    assert "_SpectralBackward" in ways(bare(x))
    wide = Conv3x3(CHANNELS, 4 * CHANNELS, bias=False)
    assert "_SpectralBackward" in ways(wide(large))
    assert "_SpectralBackward" not in ways(Conv3x3(CHANNELS - 1, CHANNELS, bias=False)(x[:, 1:]))
    monkeypatch.setattr(stacked, "has_matrix_unit", lambda: True)
    with torch.autocast("cpu", torch.bfloat16):
        assert "_StackedBackward" in ways(bare(x))
        for layer, given in ((usual, x), (strided, x), (bare, large), (asleep, x)):
            assert "_StackedBackward" not in ways(layer(given))
    assert "_StackedBackward" not in ways(bare(x))
