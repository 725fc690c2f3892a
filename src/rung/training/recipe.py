"""A recipe: everything that decides what a training does, apart from the data, the seed and the time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from rung.data.batches import Augmentation
from rung.models import NetworkConfig, network_config
from rung.models.pretrained import PretrainedConfig


@dataclass(frozen=True)
class Recipe:
    """How to train. Plain values, so that it can be written to JSON and read back.

    Attributes:
        network: the shape of the network; its class decides which.
        batch_size: images a step.
        optimizer: ``"muon"``, which moves the convolutions by Muon and the rest by SGD, or ``"adam"`` for all.
        adam_rate: peak learning rate of Adam.
        filter_rate: peak learning rate of Muon, for the convolutions; relative to the size of the filters.
        bias_rate: peak learning rate of SGD for biases and normalisations.
        head_rate: peak learning rate of SGD for the last layer.
        filter_momentum: of Muon.
        momentum: of SGD, with Nesterov's look-ahead.
        weight_decay: of SGD, as the share of a weight that a step at the peak rate takes away.
        label_smoothing: probability taken from the true class and spread over all (Szegedy et al. 2016,
            arXiv:1512.00567).
        pruning: share of the training images that a pass leaves out once the network has begun to know them, see
            :mod:`rung.training.pruning`.
        warmup: share of the training in which the rates rise to their peaks.
        decay: power of the fall to zero afterwards: 1 falls linearly, 2 spends more time at small rates.
        rounds: instead of rise and fall, shares of the peak rates: one for each of so many equal parts of the
            training. Each round starts from the weights that were best on validation images so far, with an optimizer
            that remembers nothing. ``(1.0,)`` is a constant rate.
        keep_best: whether the weights of an earlier row are returned in the end if they were clearly better on
            validation images; otherwise the last ones are, however they turned out.
        augmentation: how the training images are varied.
        views: versions of an image that are averaged to predict it, see ``Classifier``.
    """

    network: NetworkConfig
    batch_size: int = 250
    optimizer: Literal["muon", "adam"] = "muon"
    adam_rate: float = 1e-3
    filter_rate: float = 0.24
    bias_rate: float = 0.2
    head_rate: float = 1.0
    filter_momentum: float = 0.5
    momentum: float = 0.85
    weight_decay: float = 0.0005
    label_smoothing: float = 0.2
    pruning: float = 0.0
    warmup: float = 0.0
    decay: float = 1.0
    rounds: tuple[float, ...] = ()
    keep_best: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: int = 2

    def rate(self, progress: float) -> float:
        """The share of the peak learning rates to use when ``progress`` (0 to 1) of the training is done."""
        if self.rounds:
            return self.rounds[self.round(progress)]
        if progress < self.warmup:
            return progress / self.warmup
        return float(max(0.0, (1 - progress) / (1 - self.warmup)) ** self.decay)

    def round(self, progress: float) -> int:
        """Which of the rounds, counted from 0, the training is in when ``progress`` (0 to 1) of it is done."""
        return max(0, min(int(progress * len(self.rounds)), len(self.rounds) - 1))

    @property
    def fits_a_head(self) -> bool:
        """Whether all that learns is a head on the features of a pretrained network, which are computed once."""
        return isinstance(self.network, PretrainedConfig) and self.network.learns == "head"

    @property
    def peak_rate(self) -> float:
        """What a share of the peak is multiplied by in a history: Adam's rate; 1 for Muon, which goes with three."""
        return self.adam_rate if self.optimizer == "adam" else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {**asdict(self), "network": {"name": self.network.name, **asdict(self.network)}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or has a wrong type.
        """
        values = {"pruning": 0.0, **values}  # Runs of before 27 November 2026 have none.
        known = {f.name: values[f.name] for f in fields(cls)}
        known["network"] = network_config(known["network"])
        known["augmentation"] = Augmentation(**known["augmentation"])
        known["rounds"] = tuple(known["rounds"])
        return cls(**known)
