"""Classifiers of every registered network with weights that are not those of the beginning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from rung.models import NetworkConfig
from rung.models.classifier import Classifier
from rung.models.fast import FastConfig
from rung.models.ladder import DeepConfig, NaiveConfig, StagesConfig

SIZE, CLASSES = (14, 17), 5

NETWORKS: dict[str, NetworkConfig] = {
    "fast": FastConfig(((8, 8), (12, 12))),
    "fast, shortcuts": FastConfig(((8, 8), (8, 8)), stem_size=3, stem_stride=2, shortcuts=True),
    "fast, GELU": FastConfig(((8, 8), (12, 12)), activation="gelu"),
    "naive": NaiveConfig(4, 8),
    "deep": DeepConfig((4, 4, 6), 8),
    "stages": StagesConfig(((4,), (6, 6))),
    "stages, modern": StagesConfig(((4,), (6, 6)), dropout=0.2, norm=True, shortcuts=True),
}


@pytest.fixture(params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> NetworkConfig:
    return NETWORKS[request.param]


@pytest.fixture
def make_classifier() -> Callable[..., Classifier]:
    """A classifier around a network, calibrated, its normalisations used to some images."""

    def make(network: NetworkConfig, views: int = 2, channels: int = 3) -> Classifier:
        torch.manual_seed(0)
        model = Classifier(network.build(SIZE, channels, CLASSES), [120.0] * channels, [60.0] * channels, views)
        model.temperature.fill_(1.7)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                nn.init.uniform_(layer.running_var, 0.5, 2)
                nn.init.normal_(layer.bias, std=0.2)
        return model.eval().requires_grad_(False)

    return make


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    def make(images: int = 7, channels: int = 3) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (images, *SIZE, channels), np.uint8)

    return make
