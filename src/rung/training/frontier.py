"""What accuracy a network reaches in how many epochs: the planner's tables, measured by ``benchmarks/frontier``.

The tables hold validation accuracies on CIFAR-10 (a JPEG re-encoding of it). They rank networks on any data;
as a forecast they are used only on data that looks like CIFAR-10 to a linear classifier. For other data the
forecast starts from that classifier's own error and is wide.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.models import NetworkConfig, network_config
from rung.models.fast import FastConfig

TABLE = "frontier.json"
# Shares of the planned epochs that are expected, and allowed for: a computer is seldom left alone for long.
FEWER, FEWEST = 0.9, 0.675


@dataclass(frozen=True)
class Frontier:
    """The tables.

    Attributes:
        images: size of the training split that they were measured on.
        probe_accuracy: what the linear classifier of :func:`rung.data.probe.probe` gets right there.
        curves: for each network the epochs and the errors (1 - accuracy, smoothed), by rising epochs.
        views: by how many versions of an image are averaged, what share of the curves' errors is left.
        scatter: standard deviation of one run around the curve, in accuracy.
    """

    images: int
    probe_accuracy: float
    curves: dict[NetworkConfig, tuple[tuple[float, ...], tuple[float, ...]]]
    views: dict[int, float]
    scatter: float

    @classmethod
    @cache
    def load(cls) -> Frontier:
        """The tables that come with the package."""
        table = json.loads((files("rung.training") / TABLE).read_text(encoding="utf-8"))
        curves = {
            network_config(entry["network"]): (tuple(entry["epochs"]), tuple(entry["errors"]))
            for entry in table["curves"]
        }
        views = {int(count): share for count, share in table["views"].items()}
        return cls(table["images"], table["probe_accuracy"], curves, views, table["scatter"])

    @property
    def networks(self) -> tuple[NetworkConfig, ...]:
        """The networks that the planner chooses from, cheapest first."""
        return tuple(self.curves)

    def accuracy(self, config: NetworkConfig, epochs: float, images: int, views: int = 2) -> float:
        """The accuracy of ``config`` after as many training images as ``epochs`` of ``images`` show it.

        Between the measured epochs the logarithm of the error is interpolated linearly over the logarithm of
        the epochs; beyond them it follows the nearest piece, at half its slope on the far side.
        """
        epochs_here, errors = self._curve(config)
        errors = tuple(error * self.views[views] for error in errors)
        passes = max(epochs * images / self.images, 1e-3)
        x = math.log(passes)
        xs, ys = [math.log(e) for e in epochs_here], [math.log(e) for e in errors]
        if len(xs) == 1:
            return 1 - math.exp(ys[0])
        place = next((i for i in range(1, len(xs)) if x <= xs[i]), len(xs) - 1)
        slope = (ys[place] - ys[place - 1]) / (xs[place] - xs[place - 1])
        if x > xs[-1]:
            slope /= 2
            return 1 - math.exp(ys[-1] + slope * (x - xs[-1]))
        return max(0.0, 1 - math.exp(ys[place] + slope * (x - xs[place])))

    def _curve(self, config: NetworkConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if config in self.curves:
            return self.curves[config]
        # The stem of a known network is adapted to the image size; any other network gets the middle curve.
        alike = [known for known in self.curves if _body(known) == _body(config)]
        return self.curves[alike[0] if alike else self.networks[len(self.curves) // 2]]

    def is_familiar(self, dataset: Dataset, probe: Probe) -> bool:
        """Whether the tables' own accuracies can be expected: data of the same shape, size and difficulty."""
        noise = 3 * (0.25 / probe.images) ** 0.5
        return (
            dataset.channels == 3
            and len(dataset.classes) == 10
            and dataset.image_size == (32, 32)
            and 0.5 <= len(dataset.train) / self.images <= 2
            and abs(probe.accuracy - self.probe_accuracy) <= noise
        )

    def expectation(
        self, config: NetworkConfig, epochs: float, dataset: Dataset, probe: Probe, views: int = 2
    ) -> tuple[float, tuple[float, float]]:
        """The test accuracy to expect of a training from scratch, and where nine of ten runs end.

        On familiar data a tenth fewer epochs than the trial steps promise are expected, because a computer is seldom
        left alone for long, and the interval allows for the scatter of a run, the sampling of the test images, and
        three quarters of those epochs.
        """
        expected = self.accuracy(config, epochs * FEWER, len(dataset.train), views)
        slower = expected - self.accuracy(config, epochs * FEWEST, len(dataset.train), views)
        return self.forecast(expected, math.hypot(self.scatter, slower), dataset, probe)

    def forecast(
        self, expected: float, scatter: float, dataset: Dataset, probe: Probe
    ) -> tuple[float, tuple[float, float]]:
        """The test accuracy to expect of a training on ``dataset``, and where nine of ten runs end.

        Args:
            expected: what CIFAR-10's validation images would have, with as many training images.
            scatter: standard deviation of one run around that, but for the sampling of the test images; on data
                unlike CIFAR-10 the interval is wider than it could make it.
            dataset, probe: the images, and a first look at them.
        """
        if self.is_familiar(dataset, probe):
            sampling = (expected * (1 - expected) / len(dataset.test or dataset.val)) ** 0.5
            reach = 1.645 * math.hypot(scatter, sampling)
            return expected, (max(0.0, expected - reach), min(1.0, expected + reach))
        # A network's share of the linear classifier's errors lies, from easy to hard data, between a fiftieth and
        # nearly all of them.
        error = max(1 - probe.accuracy, 0.5 / probe.images)
        likely = error * min(0.9, (1 - expected) / (1 - self.probe_accuracy))
        return 1 - likely, (max(0.0, 1 - 0.95 * error), 1 - likely / 10)

    def reason(self, dataset: Dataset, probe: Probe) -> str:
        """A sentence that says what the forecast rests on."""
        if self.is_familiar(dataset, probe):
            return "The forecast rests on runs on CIFAR-10's training images."
        return "The forecast is wide: it rests on a linear classifier, because no table was measured on data like this."


def _body(config: NetworkConfig) -> object:
    return (config.stages, config.shortcuts) if isinstance(config, FastConfig) else config
