"""Which way to use a pretrained network: the best by the tables, measured, and chosen again until the choice holds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.classifier import Classifier, images_at_once, predict
from rung.models.pretrained import MANY, Learns, PretrainedConfig
from rung.training.adjustments import Adjustments
from rung.training.beginning import STARTING_IMAGES
from rung.training.device import Machine, fastest_seconds
from rung.training.frontier import Frontier
from rung.training.measure import measure_cost
from rung.training.plan import LONG, SETUP_SECONDS, make_plan
from rung.training.recipe import Recipe
from rung.training.ways import TRIAL_SIDE, Table, Way, WayCosts, least_seconds, may_learn, ways

# Images of a fine-tuning step; and on a GPU, where an epoch has twenty such steps: after four epochs of CIFAR-10 as
# accurate or more, in half the time (docs/gpu.md).
BATCH, GPU_BATCH = 32, 256
# Adam's peak rate for the former. It grows with the square root of the batch (Malladi et al. 2022, arXiv:2205.10287).
RATE = 1e-3
# Below this share of the error that is the least from scratch, no training from scratch need be planned to compare.
CLEARLY = 0.8
# Ways that are measured at most before one is taken; so many where time is short. Share of the time after which no
# further one is: on a GPU, where every new shape has to be prepared for, one can take five seconds.
MOST_TRIALS, FEW_TRIALS, TRIALS_SHARE = 4, 2, 0.1
# The share of the time that is planned with.
MARGIN = 0.9


@dataclass(frozen=True)
class Task:
    """What is to be learnt, on which computer, in which time; the fields are arguments of ``plan_pretrained``.

    Attributes:
        began: when the planning did, on :func:`time.monotonic`'s clock.
    """

    dataset: Dataset
    probe: Probe
    machine: Machine
    name: str
    augmentation: Augmentation
    adjustments: Adjustments | None
    epochs: float | None
    seconds: float | None
    report_seconds: float
    max_memory: float | None
    seed: int
    began: float

    def passed(self) -> float:
        """Seconds since the planning began."""
        return time.monotonic() - self.began

    def left(self) -> float:
        """Seconds to plan with."""
        if self.seconds is None:
            return math.inf
        return MARGIN * (self.seconds - self.passed() - SETUP_SECONDS - self.report_seconds)

    def recipe(self, way: Way) -> Recipe:
        """How to train that way."""
        images = len(self.dataset.train)
        # Where somebody has set the batch or the memory, the rate that suits the usual one is kept.
        free = self.max_memory is None and not (self.adjustments and self.adjustments.batch_size)
        usual = GPU_BATCH if free and self.machine.device == "cuda" and images >= 20 * GPU_BATCH else BATCH
        batch_size = min(usual, max(8, images // 2))
        recipe = Recipe(
            network=PretrainedConfig(self.name, way.side, way.learns),
            batch_size=batch_size,
            optimizer="adam",
            adam_rate=RATE * max(1.0, batch_size / BATCH) ** 0.5,
            label_smoothing=0.1,
            warmup=0.1,
            augmentation=self.augmentation,
            views=way.views,
        )
        return self.adjustments.apply(recipe, self.dataset.image_size) if self.adjustments else recipe


@dataclass(frozen=True)
class Choice:
    """A way, and why.

    Attributes:
        way: which.
        error: that the tables promise.
        limit: error that no training from scratch falls below.
        scratch: error that one would come to in this time; None where it was clear without asking.
        costs: what was measured.
    """

    way: Way
    error: float
    limit: float
    scratch: float | None
    costs: WayCosts


def choose_way(task: Task, learns: Learns | None, folds: int | None, *, compared: bool) -> Choice | None:
    """The way that promises least errors; None where a training from scratch promises fewer.

    Args:
        learns, folds: as of ``plan_pretrained``.
        compared: with training from scratch; else there is always a way.
    """
    dataset, table, limit = task.dataset, Table.load(), Frontier.load().least_error(len(task.dataset.train))
    impossible = least_seconds(dataset, task.machine) > task.left()
    if compared and (impossible or not table.may_be_better(len(dataset.train))):
        return None
    possible = may_learn(learns, task.epochs, adjusted=bool(task.adjustments))
    costs = WayCosts(dataset, task.machine, mirrored=task.augmentation.flip, folds=folds)
    _measure_forward(task, costs, TRIAL_SIDE)
    trials = FEW_TRIALS if task.seconds is not None and task.seconds < LONG else MOST_TRIALS

    def best() -> tuple[float, Way | None]:
        fitting = ways(table, costs, task.left(), task.epochs, possible)
        known = ((error, way) for error, way in fitting if trials or costs.measures(way))
        return min(known, key=lambda one: one[0], default=(1.0, None))

    scratch: float | None = None
    while True:
        error, way = best()
        if compared and scratch is None and error > CLEARLY * limit and way is not None:
            scratch = max(limit, _scratch_error(task))
            error, way = best()  # There is less time now.
        if compared and (way is None or (scratch is not None and error >= scratch)):
            return None
        if way is None or costs.measures(way):
            break
        # A guess has chosen it, and the choice may be another one when it is measured.
        _measure(task, costs, way)
        too_long = task.seconds is not None and task.passed() > TRIALS_SHARE * task.seconds
        trials = 0 if too_long else trials - 1
    if way is None:
        # A head on all of many images takes longer than one on a part, and a few steps.
        cheapest: Learns = "upper" if len(possible) > 1 and len(dataset.train) > STARTING_IMAGES else possible[0]
        way = Way(min(table.sides), 1, cheapest)
        _measure_forward(task, costs, way.side)
    return Choice(way, error, limit, scratch, costs)


def _measure(task: Task, costs: WayCosts, way: Way) -> None:
    """Time what that way costs here."""
    _measure_forward(task, costs, way.side)
    if way.learns == "head":
        return
    recipe, forward = task.recipe(way), costs.forwards[way.side]
    try:
        cost = measure_cost(recipe, task.dataset, task.machine, task.seed, task.max_memory, forward)
    except torch.OutOfMemoryError:  # Another way has to do, on this GPU.
        costs.too_large.add((way.learns, way.side))
    else:
        costs.steps[way.learns, way.side] = cost


def _measure_forward(task: Task, costs: WayCosts, side: int) -> None:
    if side not in costs.forwards:
        costs.forwards[side] = _forward_seconds(task.dataset, task.machine, task.name, side)


def _scratch_error(task: Task) -> float:
    """The error that a training from nothing would come to in the time, on the scale of the tables."""
    try:
        plan = make_plan(
            task.dataset,
            task.probe,
            task.machine,
            seconds=None if task.seconds is None else task.seconds - task.passed(),
            epochs=task.epochs,
            seed=task.seed,
        )
    except UsageError:
        return 1.0
    return 1 - Frontier.load().accuracy(plan.recipe.network, plan.epochs, len(task.dataset.train), plan.recipe.views)


def _forward_seconds(dataset: Dataset, machine: Machine, name: str, side: int) -> float:
    """Seconds that one image takes in a forward pass at so many pixels a side."""
    device = torch.device(machine.device)
    network = PretrainedConfig(name, side).build(dataset.image_size, dataset.channels, len(dataset.classes))
    mean, std = network.normalisation()
    model = Classifier(network, mean, std).to(device).eval()
    sample = dataset.train.subset(range(min(images_at_once(network, device), len(dataset.train))))
    network.expect(MANY, machine.precision)  # as there will be, test images included
    work = lambda: predict(model, sample, precision=machine.precision)  # noqa: E731
    return fastest_seconds(work, device, repeats=2) / len(sample)
