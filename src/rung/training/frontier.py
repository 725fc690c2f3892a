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
from typing import Any, ClassVar

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.models import NetworkConfig, network_config
from rung.models.fast import FastConfig

TABLE = "frontier.json"
# Shares of the planned epochs that are expected, and allowed for: a computer is seldom left alone for long.
FEWER, FEWEST = 0.9, 0.675
# The error of guessing among CIFAR-10's classes.
GUESSING = 0.9


@dataclass(frozen=True)
class FewImages:
    """The error that is left where training images are few, however often each of them is seen.

    The odds of an error fall as a power of the number of images, as learning curves do (Hestness et al. 2017,
    arXiv:1712.00409). Odds, because few images teach at least as much as guessing.

    Attributes:
        odds: for each network, of an error after training on :attr:`FewImages.AT` images.
        power: of the number of images.
        sharpness: how abruptly that error takes over from the one that too few passes leave: a power of both.
    """

    AT: ClassVar[int] = 1000

    odds: dict[NetworkConfig, float]
    power: float
    sharpness: float

    def error(self, config: NetworkConfig, images: int) -> float:
        """What training on so many images leaves."""
        odds: float = self.odds[config] * (max(1, images) / self.AT) ** -self.power
        return odds / (1 + odds / GUESSING)

    def beside(self, error: float, config: NetworkConfig, images: int, most: int) -> float:
        """``error``, which ``most`` images leave after some passes, with ``images`` shown as often in all."""
        floor, least = (self.error(config, count) ** self.sharpness for count in (min(images, most), most))
        together: float = (error**self.sharpness + floor - least) ** (1 / self.sharpness)
        return together


@dataclass(frozen=True)
class Frontier:
    """The tables.

    Attributes:
        images: size of the training split that they were measured on.
        probe_accuracy: what the linear classifier of :func:`rung.data.probe.probe` gets right there.
        curves: for each network the epochs and the errors (1 - accuracy, smoothed), by rising epochs.
        few: what becomes of those errors with fewer images.
        views: by how many versions of an image are averaged, what share of the curves' errors is left.
        scatter: standard deviation of one run around the curve, in accuracy.
    """

    images: int
    probe_accuracy: float
    curves: dict[NetworkConfig, tuple[tuple[float, ...], tuple[float, ...]]]
    few: FewImages
    views: dict[int, float]
    scatter: float

    @classmethod
    @cache
    def load(cls) -> Frontier:
        """The tables that come with the package."""
        return cls.of(json.loads((files("rung.training") / TABLE).read_text(encoding="utf-8")))

    @classmethod
    def of(cls, table: dict[str, Any]) -> Frontier:
        """The tables as ``benchmarks/frontier`` writes them."""
        curves = {
            network_config(entry["network"]): (tuple(entry["epochs"]), tuple(entry["errors"]))
            for entry in table["curves"]
        }
        odds = [entry["few_images_odds"] for entry in table["curves"]]
        few = FewImages(dict(zip(curves, odds, strict=True)), **table["few_images"])
        views = {int(count): share for count, share in table["views"].items()}
        return cls(table["images"], table["probe_accuracy"], curves, few, views, table["scatter"])

    @property
    def networks(self) -> tuple[NetworkConfig, ...]:
        """The networks that the planner chooses from, cheapest first."""
        return tuple(self.curves)

    def accuracy(self, config: NetworkConfig, epochs: float, images: int, views: int = 2) -> float:
        """The accuracy of ``config`` after as many training images as ``epochs`` of ``images`` show it.

        Between the measured epochs the logarithm of the error is interpolated linearly over the logarithm of
        the epochs; beyond them it follows the nearest piece, at half its slope on the far side. Fewer images than were
        measured with leave more, see :class:`FewImages`.
        """
        known = self._known(config)
        passes = max(epochs * images / self.images, 1e-3)
        error = self.few.beside(self._error(known, passes), known, images, self.images)
        return max(0.0, 1 - self.views[views] * error)

    def least_error(self, images: int) -> float:
        """What the best network leaves after training on so many images, given all the epochs that were measured."""
        ends = ((config, epochs[-1] * self.images / images) for config, (epochs, _) in self.curves.items())
        return min(1 - self.accuracy(config, epochs, images, max(self.views)) for config, epochs in ends)

    def _error(self, known: NetworkConfig, passes: float) -> float:
        """The error after so many passes over all the images that were measured with, two views averaged."""
        epochs, errors = self.curves[known]
        x = math.log(passes)
        xs, ys = [math.log(e) for e in epochs], [math.log(e) for e in errors]
        if len(xs) == 1:
            return errors[0]
        place = next((i for i in range(1, len(xs)) if x <= xs[i]), len(xs) - 1)
        slope = (ys[place] - ys[place - 1]) / (xs[place] - xs[place - 1])
        if x > xs[-1]:
            return math.exp(ys[-1] + slope / 2 * (x - xs[-1]))
        return math.exp(ys[place] + slope * (x - xs[place]))

    def _known(self, config: NetworkConfig) -> NetworkConfig:
        """The measured network that is most like it."""
        if config in self.curves:
            return config
        # The stem of a known network is adapted to the image size; any other network gets the middle curve.
        alike = [known for known in self.curves if _body(known) == _body(config)]
        return alike[0] if alike else self.networks[len(self.curves) // 2]

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
