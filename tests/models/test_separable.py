"""The gradients of separable convolutions, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rung.models import separable
from rung.models.separable import DepthwiseConv2d, PointwiseConv2d

SHAPES = [(3, 3, 5, 1), (2, 5, 5, 1), (1, 1, 5, 1), (8, 8, 6, 2), (7, 5, 6, 2), (9, 9, 5, 1)]
SHAPES += [(8, 6, 4, 2)]


def _gradients(layer: nn.Conv2d, images: Tensor, gradient: Tensor) -> list[Tensor | None]:
    images = images.clone().requires_grad_()
    layer.zero_grad()
    layer(images).backward(gradient)
    return [images.grad, layer.weight.grad, layer.bias.grad if layer.bias is not None else None]


def _layers(kernel: int, stride: int) -> tuple[DepthwiseConv2d, nn.Conv2d]:
    torch.manual_seed(0)
    layer = DepthwiseConv2d(4, kernel, stride)
    plain = nn.Conv2d(4, 4, kernel, stride, padding=(kernel - 1) // 2, groups=4)
    plain.load_state_dict(layer.state_dict())
    return layer, plain


@pytest.fixture(autouse=True)
def on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detour is right everywhere, however fast."""
    monkeypatch.setattr(separable, "_has_onednn", lambda: True)


@pytest.mark.parametrize(("height", "width", "kernel", "stride"), SHAPES)
def test_the_gradients_are_those_of_torch(
    height: int, width: int, kernel: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(separable.LEAST, torch.double, 4)
    layer, plain = (layer.double() for layer in _layers(kernel, stride))
    images = torch.randn(3, 4, height, width, dtype=torch.double)
    output = layer(images)
    assert "_Depthwise" in str(output.grad_fn)
    gradient = torch.randn_like(output)
    for ours, theirs in zip(_gradients(layer, images, gradient), _gradients(plain, images, gradient), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("height", "width", "kernel", "stride"), SHAPES)
def test_under_autocast_they_are_those_of_torch_but_for_rounding(
    height: int, width: int, kernel: int, stride: int
) -> None:
    layer, plain = _layers(kernel, stride)
    images = torch.randn(3, 4, height, width).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(images)
        assert "_Depthwise" in str(output.grad_fn) and output.dtype == torch.bfloat16
        torch.testing.assert_close(output, plain(images))
        gradient = torch.randn_like(output)
        found = _gradients(layer, images, gradient)
    for ours, exact in zip(found, _gradients(plain, images, gradient.float()), strict=True):
        assert ours is not None and exact is not None and ours.dtype == torch.float32
        assert (ours - exact).abs().max() < 0.02 * exact.abs().max() + 0.02


def test_torch_does_it_where_it_is_faster_or_nothing_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(2, 4, 8, 8)
    layer = DepthwiseConv2d(4, 5)
    assert layer._learns_slowly(images)
    assert not DepthwiseConv2d(4, 3)._learns_slowly(images)
    assert not DepthwiseConv2d(4, 7)._learns_slowly(images)
    assert not DepthwiseConv2d(4, 4, 2)._learns_slowly(images)
    with torch.no_grad():
        assert not layer._learns_slowly(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert DepthwiseConv2d(4, 4, 2)._learns_slowly(images)
        assert not DepthwiseConv2d(4, 3)._learns_slowly(images)
    assert not layer.eval()._learns_slowly(images)
    layer.train().weight.requires_grad_(False)
    assert not layer._learns_slowly(images)
    monkeypatch.setattr(separable, "_has_onednn", lambda: False)
    assert not DepthwiseConv2d(4, 5)._learns_slowly(images)


def test_what_the_layer_below_has_no_use_for_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separable, "input_gradient", lambda *given: pytest.fail("computed for nobody"))
    layer = DepthwiseConv2d(4, 5)
    layer(torch.randn(2, 4, 3, 3)).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.shape == layer.weight.shape


def test_a_tap_that_meets_no_input_has_no_gradient() -> None:
    weight = torch.zeros(1, 1, 5, 5)
    found = separable.weight_gradient(torch.ones(1, 1, 1, 1), weight, torch.ones(1, 1, 1, 1), 1)
    assert found.sum() == 1 and found[0, 0, 2, 2] == 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 3), (8, 8)])
def test_a_pointwise_convolution_is_a_matrix_product(height: int, width: int) -> None:
    torch.manual_seed(0)
    layer = PointwiseConv2d(16, 24)
    plain = nn.Conv2d(16, 24, 1)
    plain.load_state_dict(layer.state_dict())
    images = torch.randn(3, 16, height, width).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(images)
        assert _made_by_a_product(output) and output.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(output, plain(images), atol=0.02, rtol=0.02)
        gradient = torch.randn_like(output)
        found = _gradients(layer, images, gradient)
    for ours, exact in zip(found, _gradients(plain, images, gradient.float()), strict=True):
        assert ours is not None and exact is not None and ours.shape == exact.shape
        assert (ours - exact).abs().max() < 0.02 * exact.abs().max() + 0.02


def test_elsewhere_it_is_a_convolution() -> None:
    layer = PointwiseConv2d(4, 4)
    small, large = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 9, 9)
    assert not _made_by_a_product(layer(small))
    with torch.autocast("cpu", torch.bfloat16):
        assert not _made_by_a_product(layer(large))
        assert not _made_by_a_product(layer.eval()(small))
        assert _made_by_a_product(layer.train()(small))


def _made_by_a_product(output: Tensor) -> bool:
    return "Permute" in str(output.grad_fn)
