from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from rung.models import stacked
from rung.models.fast import FastConfig
from rung.models.stacked import StackedConv2d, side_by_side, weight_gradient


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


def learn(images: Tensor) -> tuple[list[str], Tensor, list[Tensor]]:
    """A step of a small network in bfloat16: what its convolutions are, its logits and gradients."""
    torch.manual_seed(0)
    network = FastConfig(stages=((4, 4), (6, 6))).build((16, 16), 3, 3).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
    seen, waiting = [], [logits.grad_fn]
    while waiting:
        function = waiting.pop()
        seen.append(type(function).__name__)
        waiting += [before for before, _ in function.next_functions if before is not None]
    logits.float().square().sum().backward()
    return seen, logits.detach(), [p.grad for p in network.parameters() if p.grad is not None]


def test_a_network_learns_the_same_with_a_matrix_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(stacked, "has_matrix_unit", lambda: False)
    plain, logits, gradients = learn(images)
    monkeypatch.setattr(stacked, "has_matrix_unit", lambda: True)
    with_unit, same_logits, same_gradients = learn(images)
    assert "_StackedBackward" not in plain and with_unit.count("_StackedBackward") == 3
    assert torch.equal(logits, same_logits)
    for one, other in zip(gradients, same_gradients, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), 0) > 0.999


def test_elsewhere_it_is_the_usual_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked, "has_matrix_unit", lambda: True)
    x = torch.randn(4, 3, 7, 7)
    usual, strided = StackedConv2d(3, 5), StackedConv2d(3, 5, stride=2, bias=False)
    assert torch.equal(usual(x), F.conv2d(x, usual.weight, usual.bias, padding=1))
    assert strided(x).shape == (4, 5, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert not usual._learns_slowly(x) and not strided._learns_slowly(x)
        bare = StackedConv2d(3, 5, bias=False)
        assert bare._learns_slowly(x) and not bare._learns_slowly(torch.randn(4, 3, 20, 20))
        assert not bare.eval()._learns_slowly(x)
    assert not bare.train()._learns_slowly(x)
