from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from rung.models.stacked import side_by_side, weight_gradient


@given(st.integers(1, 200), st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_the_gradient_is_that_of_each_image_by_itself(
    count: int, inputs: int, outputs: int, height: int, width: int
) -> None:
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, inputs, height, width, dtype=torch.float64, generator=generator)
    weight = torch.randn(outputs, inputs, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    y = F.conv2d(x, weight, padding=1)
    gradient = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    y.backward(gradient)
    assert torch.allclose(weight_gradient(x, gradient, weight.detach()), weight.grad)


def test_images_side_by_side_are_as_wide_as_their_number_allows() -> None:
    assert side_by_side(torch.ones(250, 2, 7, 7)).shape == (4, 2, 7, 63 * 8)
    assert side_by_side(torch.ones(251, 2, 7, 7)).shape == (4, 2, 7, 63 * 8)
    assert side_by_side(torch.ones(4, 2, 3, 600)).shape == (4, 2, 3, 601)
    assert float(side_by_side(torch.ones(251, 2, 7, 7)).sum()) == 251 * 2 * 7 * 7
