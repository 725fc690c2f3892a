"""The gradients of depthwise convolutions, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rung.models import depthwise
from rung.models.depthwise import DepthwiseConv2d


def _gradients(layer: nn.Conv2d, images: Tensor, gradient: Tensor) -> list[Tensor | None]:
    images = images.clone().requires_grad_()
    layer.zero_grad()
    layer(images).backward(gradient)
    return [images.grad, layer.weight.grad, layer.bias.grad if layer.bias is not None else None]


@pytest.mark.parametrize(("height", "width", "kernel"), [(3, 3, 5), (2, 5, 5), (1, 1, 5), (6, 6, 7)])
def test_the_gradients_are_those_of_torch(height: int, width: int, kernel: int) -> None:
    random = torch.Generator().manual_seed(0)
    layer = DepthwiseConv2d(4, kernel).double()
    plain = nn.Conv2d(4, 4, kernel, padding=kernel // 2, groups=4).double()
    plain.load_state_dict(layer.state_dict())
    images = torch.randn(3, 4, height, width, generator=random, dtype=torch.double)
    gradient = torch.randn(3, 4, height, width, generator=random, dtype=torch.double)
    assert "_Depthwise" in str(layer(images).grad_fn)
    for ours, theirs in zip(_gradients(layer, images, gradient), _gradients(plain, images, gradient), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_torch_does_it_where_it_is_faster_or_nothing_learns() -> None:
    small, large = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 9, 9)
    layer = DepthwiseConv2d(4, 5)
    assert not layer._learns_slowly(large)
    assert not DepthwiseConv2d(4, 3)._learns_slowly(small)
    assert not DepthwiseConv2d(4, 6, 2)._learns_slowly(small)
    assert layer._learns_slowly(small)
    with torch.no_grad():
        assert not layer._learns_slowly(small)
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer._learns_slowly(small)
    layer.weight.requires_grad_(False)
    assert not layer._learns_slowly(small)


def test_what_the_layer_below_has_no_use_for_is_not_computed() -> None:
    layer = DepthwiseConv2d(4, 5)
    layer(torch.randn(2, 4, 3, 3)).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.shape == layer.weight.shape


def test_a_tap_that_meets_no_input_has_no_gradient() -> None:
    found = depthwise.weight_gradient(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), 5)
    assert found.sum() == 1 and found[0, 0, 2, 2] == 1
