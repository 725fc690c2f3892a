"""The ways to use a pretrained network: what each costs here, and the error that it promises, by measured tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from rung.data.dataset import Dataset
from rung.models.pretrained import Learns
from rung.training.beginning import STARTING_IMAGES, STARTING_SHARE, WORTH_WAITING
from rung.training.device import Machine
from rung.training.frontier import Frontier
from rung.training.head import CHOOSING
from rung.training.measure import Cost
from rung.training.plan import JUDGING_SECONDS, evaluation_seconds

TABLE = "pretrained.json"

# Pixels a side at which the speed is measured first.
TRIAL_SIDE = 96
# What a training step is expected to cost there, in forward passes: by precision and by what learns, until it is
# measured: the least that was seen in bfloat16, because what is not hoped for is not measured. Share of it that does
# not grow with the pixels: weights' gradients, optimizer, hundreds of small operations.
STEP_PASSES: dict[str, dict[Learns, float]] = {
    "float32": {"upper": 4.1, "all": 6.3},
    "bfloat16": {"upper": 1.7, "all": 2.5},
}
FIXED = 0.4
# Multiply-adds of EfficientNet-Lite0 at 64 pixels a side, and the share of a machine's rate that it reaches at best.
LEAST_MULTIPLY_ADDS, BEST_SHARE = 32.4e6, 0.65
# The rate of the cores on which fitting heads was timed, see :meth:`WayCosts.fit`.
SLOW_GFLOPS = 110.0
# How much slower a whole evaluation is than the fastest trial; engines are started in it, too. And seconds that a GPU
# needs beyond that: 2.2 to 2.8 on an H100, for images in batches of other sizes than the trial's.
SUSTAINED, GPU_SECONDS = 1.15, 2.7
# Epochs of fine-tuning beyond which no further gain is expected: 8 over 90 images led to 63.8 % of validation images,
# 24 to 62.6 % (benchmarks/2026-11-26.md).
MOST_EPOCHS = 12.0
# Images that a fine-tuning sees, at least: thirty steps however few there are, and no more than that of many.
LEAST_SEEN, MOST_SEEN = 1000.0, 4000.0


@dataclass(frozen=True)
class Way:
    """One way to use the network: pixels a side, views of an image that are averaged, and what learns."""

    side: int
    views: int
    learns: Learns


@dataclass(frozen=True)
class Table:
    """Errors (1 - accuracy) on CIFAR-10's validation images, by training images.

    Attributes:
        images: of the training split, rising.
        head: error of a head on features of images at 160 pixels, two views.
        sides: by pixels a side, what the head's error is multiplied by; rising.
        one_view: what it is multiplied by without mirrored views.
        tuned: what fine-tuning of the upper part, or of all, leaves in the end of the error that a head on as many
            images as it begins with has at 160 pixels; by what learns, by pixels a side, by images.
        halfway: images that a fine-tuning sees until half of its gain is there, by pixels a side: the fewer there are,
            the less an image looks like what the network has learnt from.
        halfway_passes: or all of the images so many times, if that is sooner.
        power: how steeply the gain comes.
        scatter: standard deviation of one training around all this, in accuracy.
    """

    images: tuple[int, ...]
    head: tuple[float, ...]
    sides: dict[int, float]
    one_view: float
    tuned: dict[Learns, dict[int, tuple[float, ...]]]
    halfway: dict[int, float]
    halfway_passes: float
    power: float
    scatter: float

    @classmethod
    @cache
    def load(cls) -> Table:
        """The one that comes with the package."""
        table = json.loads((files("rung.training") / TABLE).read_text(encoding="utf-8"))
        return cls(
            images=tuple(table["images"]),
            head=tuple(table["head"]),
            sides={int(side): share for side, share in table["sides"].items()},
            one_view=table["one_view"],
            tuned={
                way: {int(side): tuple(shares) for side, shares in sides.items()}
                for way, sides in table["tuned"].items()
            },
            halfway={int(side): float(seen) for side, seen in table["halfway"].items()},
            halfway_passes=table["halfway_passes"],
            power=table["power"],
            scatter=table["scatter"],
        )

    def at(self, values: tuple[float, ...], images: int) -> float:
        """A column's value for so many images: logarithms interpolated, the ends kept beyond them."""
        xs = [math.log(count) for count in self.images]
        x = min(max(math.log(max(1, images)), xs[0]), xs[-1])
        place = next(i for i in range(1, len(xs)) if x <= xs[i])
        share = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
        return math.exp((1 - share) * math.log(values[place - 1]) + share * math.log(values[place]))

    def head_error(self, images: int, side: int) -> float:
        """The error of a head alone, with two views."""
        return self.at(self.head, images) * self.sides[side]

    def tuned_error(self, learns: Learns, images: int, side: int, epochs: float) -> float:
        """The error after so many epochs of fine-tuning, with two views."""
        halfway = min(self.halfway_passes * images, self.halfway[side])
        done: float = 1 / (1 + (halfway / (images * epochs)) ** self.power)
        # It begins with a head on a part of many images.
        beginning = self.at(self.head, min(images, STARTING_IMAGES))
        return beginning * (self.sides[side] * (1 - done) + self.at(self.tuned[learns][side], images) * done)

    def error(self, way: Way, images: int, epochs: float) -> float:
        """The error of a way, after so many epochs where it is a fine-tuning."""
        factor = 1.0 if way.views == 2 else self.one_view
        if way.learns == "head":
            return factor * self.head_error(images, way.side)
        return factor * self.tuned_error(way.learns, images, way.side, epochs)

    def least_error(self, images: int) -> float:
        """What no way falls below, whatever the time."""
        ends = (self.tuned_error(learns, images, side, math.inf) for learns in self.tuned for side in self.sides)
        return min(self.at(self.head, images), *ends)

    def least_seen(self, images: int) -> float:
        """How many images a fine-tuning must see: one that is ended too early leaves less than it began with.

        Of all of CIFAR-10 at 64 pixels, 61 % after 320 images, 67 % after 1,000 and 72 % after 2,500, as much as the
        head before it; of 180 cats and dogs two steps left 61 % of 80 %, six nothing less.
        """
        return min(max(LEAST_SEEN, images / 2), MOST_SEEN)

    def may_be_better(self, images: int) -> bool:
        """Whether some way ends below a training from scratch, if both have all the time that they can use."""
        return self.least_error(images) <= Frontier.load().least_error(images)


def may_learn(learns: Learns | None, epochs: float | None, *, adjusted: bool) -> tuple[Learns, ...]:
    """What may learn, as asked; a recipe is adjusted for fine-tuning alone, and less than an epoch is for a head."""
    if learns is not None:
        return (learns,)
    if epochs is not None:
        return ("head",) if epochs < 1 and not adjusted else ("all",)
    return ("upper", "all") if adjusted else ("head", "upper", "all")


class WayCosts:
    """What the parts of a training cost here: measured for some ways, and for the others expected from those.

    Args:
        dataset: the images.
        machine: the computer.
        mirrored: whether features are computed of both sides of an image.
        folds: of a cross-validation that is to follow.

    Attributes:
        forwards: seconds of an image in a forward pass, by pixels a side; at least one must be measured before asking.
        steps: what training costs, by what learns and pixels a side.
        too_large: what learns, at so many pixels a side, for which a GPU had no room.
    """

    def __init__(self, dataset: Dataset, machine: Machine, *, mirrored: bool, folds: int | None) -> None:
        self.dataset, self.mirrored = dataset, mirrored
        self.forwards: dict[int, float] = {}
        self.steps: dict[tuple[Learns, int], Cost] = {}
        self.too_large: set[tuple[Learns, int]] = set()
        self._passes, self._machine, self._folds = STEP_PASSES[machine.precision], machine, folds

    def measures(self, way: Way) -> bool:
        """Whether everything about that way is measured."""
        return way.side in self.forwards and (way.learns == "head" or (way.learns, way.side) in self.steps)

    def has_room(self, learns: Learns, side: int) -> bool:
        """Whether no trial has shown the contrary."""
        return not any(learns == other and side >= least for other, least in self.too_large)

    def each(self, side: int) -> float:
        """One image, once through the network; it grows with its pixels."""
        nearest = min(self.forwards, key=lambda measured: abs(measured - side))
        return self.forwards[nearest] * (side / nearest) ** 2

    def step(self, learns: Learns, side: int) -> float:
        """One image in a step of fine-tuning."""
        if not self.steps:
            return self._guess(learns, side)
        nearest = min(self.steps, key=lambda measured: (measured[0] != learns, abs(measured[1] - side)))
        return self.steps[nearest].step * self._guess(learns, side) / self._guess(*nearest)

    def _guess(self, learns: Learns, side: int) -> float:
        growth = FIXED + (1 - FIXED) * (side / TRIAL_SIDE) ** 2
        return self._passes[learns] * growth * self.each(TRIAL_SIDE)

    def head(self, side: int) -> float:
        """A head on the features of the training images."""
        images = len(self.dataset.train)
        return images * (1 + self.mirrored) * self.each(side) + self.fit(images)

    def start(self, side: int, left: float) -> float:
        """The head that fine-tuning begins with, on fewer images where ``left`` seconds for it all are short."""
        most = min(len(self.dataset.train), STARTING_IMAGES)
        images = int(min(most, (STARTING_SHARE * left + WORTH_WAITING) / self.each(side)))
        return images * self.each(side) + self.fit(images)

    def fit(self, images: int) -> float:
        """A head on features that are there, by :func:`rung.training.head.fit_head`.

        Two slow cores took four times as long as two that reach four times their rate, for 90 to 4,000 images.
        """
        # That of a GPU says nothing about the processor beside it, which fits them.
        known = self._machine.device == "cpu"
        slowness = min(1.5, max(0.25, SLOW_GFLOPS / self._machine.gflops)) if known else 1.0
        return slowness * (
            1.5 + (min(images, CHOOSING) / 300 + images / 2000) * max(1.0, len(self.dataset.classes) / 10)
        )

    def epoch(self, side: int, learns: Learns) -> float:
        """One pass of fine-tuning."""
        return len(self.dataset.train) * self.step(learns, side)

    def evaluation(self, side: int, views: int) -> float:
        """Everything after the training, but for the report."""
        seconds = JUDGING_SECONDS + SUSTAINED * evaluation_seconds(self.dataset, views, self.each(side))
        seconds += GPU_SECONDS if self._machine.device == "cuda" else 0.0
        if self._folds is None:
            return seconds
        everything = sum(map(len, self.dataset.splits))
        # Each part is answered by a head of its own, and three smaller ones tell how it grows with its images.
        return seconds + everything * (1 + self.mirrored) * self.each(side) + 2 * self._folds * self.fit(everything)


def ways(
    table: Table, costs: WayCosts, left: float, epochs: float | None, possible: tuple[Learns, ...]
) -> Iterator[tuple[float, Way]]:
    """The ways that fit into ``left`` seconds, for so many epochs if those are given, each with the error to expect."""
    images = len(costs.dataset.train)
    for side in table.sides:
        for views in (1, 2) if costs.mirrored else (1,):
            for learns in possible:
                way = Way(side, views, learns)
                spare = left - costs.evaluation(side, views)
                spare -= costs.head(side) if learns == "head" else costs.start(side, max(0.0, spare))
                if spare < 0 or not costs.has_room(learns, side):
                    continue
                if learns == "head":
                    yield table.error(way, images, 1.0), way
                    continue
                passes = epochs or min(MOST_EPOCHS, spare / costs.epoch(side, learns))
                if passes * images >= (1 if epochs else table.least_seen(images)):
                    yield table.error(way, images, passes), way


def least_seconds(dataset: Dataset, machine: Machine) -> float:
    """What no way stays below on this computer, estimated without computing anything: for short budgets."""
    images = evaluation_seconds(dataset, 1, 1.0) + min(len(dataset.train), STARTING_IMAGES)
    return images * 2 * LEAST_MULTIPLY_ADDS / (BEST_SHARE * machine.gflops * 1e9)
