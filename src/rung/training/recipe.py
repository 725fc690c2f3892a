"""A recipe: everything that decides what a training does, apart from the data, the seed and the time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rung.data.batches import Augmentation
from rung.models import NetworkConfig, network_config


@dataclass(frozen=True)
class Recipe:
    """How to train. Plain values, so that it can be written to JSON and read back.

    Attributes:
        network: the shape of the network; its class decides which.
        batch_size: images a step.
        filter_rate: peak learning rate of Muon, for the convolutions; relative to the size of the filters.
        bias_rate: peak learning rate of SGD for biases and normalisations.
        head_rate: peak learning rate of SGD for the last layer.
        filter_momentum: of Muon.
        momentum: of SGD, with Nesterov's look-ahead.
        weight_decay: of SGD, as the share of a weight that a step at the peak rate takes away.
        label_smoothing: probability taken from the true class and spread over all (Szegedy et al. 2016,
            arXiv:1512.00567).
        warmup: share of the training in which the rates rise to their peaks.
        decay: power of the fall to zero afterwards: 1 falls linearly, 2 spends more time at small rates.
        augmentation: how the training images are varied.
        views: versions of an image that are averaged to predict it, see ``Classifier``.
    """

    network: NetworkConfig
    batch_size: int = 250
    filter_rate: float = 0.24
    bias_rate: float = 0.053
    head_rate: float = 0.67
    filter_momentum: float = 0.6
    momentum: float = 0.85
    weight_decay: float = 0.004
    label_smoothing: float = 0.2
    warmup: float = 0.0
    decay: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: int = 2

    def rate(self, progress: float) -> float:
        """The share of the peak learning rates to use when ``progress`` (0 to 1) of the training is done."""
        if progress < self.warmup:
            return progress / self.warmup
        return float(max(0.0, (1 - progress) / (1 - self.warmup)) ** self.decay)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {**asdict(self), "network": {"name": self.network.name, **asdict(self.network)}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or has a wrong type.
        """
        known = {f.name: values[f.name] for f in fields(cls)}
        known["network"] = network_config(known["network"])
        known["augmentation"] = Augmentation(**known["augmentation"])
        return cls(**known)
