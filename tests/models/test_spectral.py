from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from rung.models.spectral import AT_ONCE, convolve, find_spectrum


def with_gradients(y: Tensor, x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
    return (y.detach(), *torch.autograd.grad(y, (x, weight), gradient))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_it_is_the_convolution_with_its_gradients(
    count: int, inputs: int, outputs: int, height: int, width: int
) -> None:
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, inputs, height, width, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(outputs, inputs, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    gradient = torch.randn(count, outputs, height, width, dtype=torch.float64, generator=generator)
    wanted = with_gradients(F.conv2d(x, weight, padding=1), x, weight, gradient)
    for one, other in zip(with_gradients(convolve(x, weight), x, weight, gradient), wanted, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other)


@pytest.mark.parametrize(("side", "products"), [(3, 22), (4, 37), (7, 94), (8, 121)])
def test_a_spectrum_has_one_product_for_a_real_frequency_and_three_for_a_pair(side: int, products: int) -> None:
    assert find_spectrum(side, side, torch.float32).kernel.shape == (products, 9)


@pytest.mark.parametrize(("side", "products"), [(15, 8 * 48), (16, 9 * 51)])
def test_large_maps_are_transformed_along_one_side_after_the_other(side: int, products: int) -> None:
    assert side * side > AT_ONCE
    spectrum = find_spectrum(side, side, torch.float32)
    assert spectrum.rows is not None and spectrum.kernel.shape == (products, 9)


@pytest.mark.parametrize("side", [3, 4, 7, 8, 15])
def test_in_bfloat16_it_is_exact_to_a_hundredth(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 64, side, side, generator=generator).relu().bfloat16().requires_grad_()
    weight = torch.randn(96, 64, 3, 3, generator=generator).bfloat16().requires_grad_()
    gradient = torch.randn(64, 96, side, side, generator=generator).bfloat16()
    exact = (x.detach().float().requires_grad_(), weight.detach().float().requires_grad_())
    wanted = with_gradients(F.conv2d(*exact, padding=1), *exact, gradient.float())
    for one, other in zip(with_gradients(convolve(x, weight), x, weight, gradient), wanted, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.float() - other).norm() < 0.01 * other.norm()


def test_the_gradient_of_what_was_convolved_is_left_out_where_nobody_asks_for_it() -> None:
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    output = convolve(torch.randn(2, 3, 7, 7), weight)
    with mock.patch("rung.models.spectral._synthesise") as back:
        output.sum().backward()
    assert weight.grad is not None and not back.called


def test_a_second_derivative_is_refused_instead_of_wrong() -> None:
    x, weight = torch.randn(2, 3, 7, 7, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    (first,) = torch.autograd.grad(convolve(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
