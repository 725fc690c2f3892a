"""Every network in the registry, and layers that come in none of them, as operations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from rung.errors import RungError
from rung.models.graph import INPUT, operations


def kinds(network: nn.Module) -> list[str]:
    return [operation.kind for operation in operations(network)]


def settle(network: nn.Module) -> nn.Module:
    """Statistics and scales of the normalisations that are not 0 and 1."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias)
    return network


def test_normalisations_go_into_the_convolutions_before_them() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4)
    )
    found = operations(settle(network))
    assert [step.kind for step in found] == ["convolution", "relu", "convolution", "max pooling"]
    assert found[0].inputs == (INPUT,)
    assert all(weights.dtype == "float32" for step in found for weights in step.weights.values())


def test_a_relu_comes_before_the_pooling_in_front_of_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(4, 4, 3))
    found = operations(network)
    assert [step.kind for step in found] == ["convolution", "relu", "max pooling", "convolution"]
    for step, before in zip(found[1:], found, strict=False):
        assert step.inputs == (before.name,)
    assert found[2].options["kernel"] == (2, 2)


def test_a_negative_scale_does_not_pass_a_maximum() -> None:
    network = settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4)))
    network[2].weight.data[1] = -1
    assert kinds(network) == ["convolution", "max pooling", "affine"]


def test_what_another_step_needs_is_left_as_it_is() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    assert kinds(settle(Fork())) == ["convolution", "affine", "add"]


def test_dropout_does_nothing() -> None:
    assert kinds(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))) == ["flatten", "dense"]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1)),
        nn.Flatten(2),
        nn.Tanh(),
    ],
)
def test_what_is_unknown_is_refused_in_a_sentence(layer: nn.Module) -> None:
    with pytest.raises(RungError, match="cannot be exported"):
        operations(nn.Sequential(layer))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.mean(1),
        lambda x: x + x.mean((2, 3), keepdim=True),
        lambda x: x.mean((2, 3), dtype=torch.float64),
        lambda x: 2 * x,
        lambda x: 1 / x,
    ],
)
def test_unusual_calls_are_refused(call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Unusual(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return call(x)

    with pytest.raises(RungError, match="nothing is known about its step"):
        operations(Unusual())


def test_single_numbers_may_be_changed_before_they_are_flattened() -> None:
    layers = nn.AdaptiveAvgPool2d(1), nn.Identity(), nn.Dropout(0.5), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)
    assert kinds(nn.Sequential(*layers)) == ["mean", "relu", "flatten", "dense"]


def test_a_pooling_of_all_positions_is_known_before_a_flattening() -> None:
    assert kinds(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))) == ["mean", "flatten", "dense"]


class _PadsByTheImage(nn.Conv2d):
    """As timm's convolutions that pad like TensorFlow's."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(input, (0, input.shape[-1] % 2, 0, input.shape[-2] % 2)))


class _Activates(nn.BatchNorm2d):
    """As timm's normalisations that have an activation inside."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize("layer", [_PadsByTheImage(3, 4, 3), _Activates(3)], ids=["convolution", "normalisation"])
def test_a_layer_that_does_more_than_its_parent_is_not_taken_for_it(layer: nn.Module) -> None:
    with pytest.raises(RungError, match="cannot be exported"):
        operations(nn.Sequential(layer, nn.Flatten(), nn.Linear(4, 2)))


def test_a_network_whose_code_needs_numbers_is_refused_in_a_sentence() -> None:
    class Chooses(nn.Module):
        def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
            return x_NCHW if x_NCHW.mean() > 0 else -x_NCHW

    with pytest.raises(RungError, match="cannot be exported"):
        operations(Chooses())
