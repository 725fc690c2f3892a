from __future__ import annotations

import pytest
import torch
from torch import nn

from rung.models import configs, network_config
from rung.models.ladder import LARGEST_DENSE, DeepConfig, NaiveConfig, Shortcut, StagesConfig, bounded, entrance

ALL = [NaiveConfig(), DeepConfig(), StagesConfig(), StagesConfig(dropout=0.2, norm=True, shortcuts=True)]
SHAPES = [((1, 1), 1, 2), ((8, 8), 1, 10), ((32, 32), 3, 100), ((5, 90), 3, 4), ((224, 224), 3, 1000)]
# What exports walk through.
STANDARD = (
    nn.Sequential,
    nn.Conv2d,
    nn.Linear,
    nn.MaxPool2d,
    nn.Dropout,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.Flatten,
)


@pytest.mark.parametrize("config", ALL, ids=str)
@pytest.mark.parametrize(("size", "channels", "classes"), SHAPES)
def test_images_of_any_size_become_logits(
    config: NaiveConfig, size: tuple[int, int], channels: int, classes: int
) -> None:
    network = config.build(size, channels, classes).eval()
    assert network(torch.zeros(2, channels, *size)).shape == (2, classes)
    assert all(isinstance(module, STANDARD) for module in network.modules())
    assert all(p.numel() <= LARGEST_DENSE for p in network.parameters())


@pytest.mark.parametrize("config", ALL, ids=str)
def test_a_configuration_comes_back_from_plain_values(config: NaiveConfig) -> None:
    assert type(config) is configs()[config.name]
    assert network_config({"name": config.name, **config.__dict__}) == config


@pytest.mark.parametrize("side", [*range(1, 70), 100, 224, 500, 1024, 4096])
def test_the_first_convolution_leaves_what_it_says(side: int) -> None:
    convolution, size = entrance((side, 3), 1, 1)
    assert tuple(convolution(torch.zeros(1, 1, side, 3)).shape[2:]) == size
    assert size[0] == side if side <= 47 else 24 <= size[0] <= 48


def test_naive_has_most_of_the_weights_in_one_dense_layer() -> None:
    network = NaiveConfig().build((32, 32), 3, 10)
    counts = sorted(p.numel() for p in network.parameters())
    assert counts[-1] > 0.9 * sum(counts)
    assert sum(counts) > 3 * sum(p.numel() for p in StagesConfig().build((32, 32), 3, 10).parameters())


def test_a_dense_layer_is_bounded() -> None:
    assert bounded(128, 1000) == 128
    assert bounded(128, 2**20) == 16
    assert bounded(128, 2**30) == 1


def test_a_shortcut_adds_its_input() -> None:
    block = Shortcut(nn.Conv2d(2, 2, 3, padding=1))
    image = torch.randn(1, 2, 4, 4)
    assert torch.allclose(block(image), image + block[0](image))
    network = StagesConfig(stages=((4, 4), (8, 8)), norm=True, shortcuts=True).build((8, 8), 1, 2)
    assert sum(isinstance(module, Shortcut) for module in network.modules()) == 2
