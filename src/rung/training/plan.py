"""From a budget to a recipe: what to train, so that training, evaluation and report end at the budget."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from rung.budget import format_duration
from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.errors import UsageError
from rung.models import NetworkConfig
from rung.models.classifier import Classifier
from rung.models.fast import FastConfig
from rung.training.device import Machine
from rung.training.frontier import Frontier
from rung.training.measure import Cost, measure_cost, network_size
from rung.training.recipe import Recipe
from rung.training.rows import TRAIN_SAMPLE

# Seconds of work that no measurement at the start can see: the report, the last files, the end of the process.
REPORT_SECONDS = 0.5
# Between the plan and the first step: weights, normalisation, whitening, files.
SETUP_SECONDS = 0.3
# What an evaluation takes besides the predictions: temperature, metrics and files.
JUDGING_SECONDS = 0.15
# Power of the multiply-adds with which seconds grow, before two networks are timed: wider layers use the cores better.
# In float32 on cores without a matrix unit it is 0.9 (benchmarks/2026-11-25.md); with one, less.
GROWTH = 0.8
# Images a step.
BATCH = 250
# Leaving out images that are known already (benchmarks/2026-11-27.md): the share of a pass, from how many passes on,
# and with how many images for each pass. Fewer are needed in all of them.
PRUNING = 0.45
PRUNED_PASSES, IMAGES_FOR_A_PASS = 1.2, 1500
# Images a step where a GPU has time for many epochs, and how many images those have together: sixteen epochs of
# CIFAR-10 were as accurate in such batches (benchmarks/2026-11-26.md), and an H200 had them done in half the time.
LARGE_BATCH, LARGE_BATCH_IMAGES = 1000, 16 * 45_000
# Seconds that an image takes in a network that a GPU has no room for.
NEVER = 1e3
# Seconds from which on there is time to time a third network.
LONG = 60.0


@dataclass(frozen=True)
class Plan:
    """What is going to be trained, how long each part takes, and what may come out.

    Attributes:
        recipe: how to train.
        budget: seconds for the whole command, fewer than were given where more would not help, or None when a number of
            epochs was asked for.
        epochs: passes over the training split that are expected, or were asked for.
        steps: the same in steps.
        parameters: trainable and frozen weights of the network.
        multiply_adds: of one image going through the network.
        image_size: height and width in pixels.
        precision: of the arithmetic.
        expected_accuracy: on the test split, 0 to 1; None where there is no table to forecast from.
        expected_accuracy_interval: where nine of ten runs are expected to end, or None.
        expected_seconds: of ``start``, ``training``, ``evaluation`` and ``report``; they sum to the budget.
        reasons: why this plan, in sentences.
        ends_early: whether it ends after its steps, because more would not help, though there were time.
    """

    recipe: Recipe
    budget: float | None
    epochs: float
    steps: int
    parameters: int
    multiply_adds: int
    image_size: tuple[int, int]
    precision: str
    expected_accuracy: float | None
    expected_accuracy_interval: tuple[float, float] | None
    expected_seconds: dict[str, float]
    reasons: tuple[str, ...]
    ends_early: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the recipe is written apart."""
        values = {name: value for name, value in asdict(self).items() if name != "recipe"}
        return {**values, "network": str(self.recipe.network), "batch_size": self.recipe.batch_size}

    def lines(self) -> list[str]:
        """The plan for people, a few lines."""
        forecast = []
        if self.expected_accuracy is not None and self.expected_accuracy_interval is not None:
            low, high = self.expected_accuracy_interval
            forecast = [
                f"  expected test accuracy {self.expected_accuracy:.1%} (nine of ten runs: {low:.1%} to {high:.1%})"
            ]
        parts = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in self.expected_seconds.items())
        return [
            f"Plan: {self.recipe.network}, {self.parameters / 1e6:.2f} M parameters, "
            f"{self.multiply_adds / 1e6:.1f} M multiply-adds an image",
            f"  about {self.epochs:.3g} epochs in batches of {self.recipe.batch_size}, {self.precision}; {parts}",
            *forecast,
            *(f"  {reason}" for reason in self.reasons),
        ]


def make_plan(
    dataset: Dataset,
    probe: Probe,
    machine: Machine,
    *,
    seconds: float | None,
    spent: float = 0.0,
    epochs: float | None = None,
    max_memory: float | None = None,
    network: NetworkConfig | None = None,
    seed: int = 0,
    report_seconds: float = REPORT_SECONDS,
    large_batches: bool = True,
) -> Plan:
    """Choose what to train.

    Args:
        dataset: the images.
        probe: a first look at them.
        machine: the computer.
        seconds: for everything from now on, evaluation and report included; None with ``epochs``.
        spent: seconds of the budget that are gone already.
        epochs: passes over the training split instead of a time.
        max_memory: bytes that the process may use at its peak, at most.
        network: instead of the planner's choice.
        seed: of the trial steps.
        report_seconds: for what comes after training and evaluation.
        large_batches: whether a GPU may have them.

    Raises:
        UsageError: the time is too short for a single step, or the memory too small for the smallest batch.
    """
    began = time.monotonic()
    frontier = Frontier.load()
    augmentation, why = choose_augmentation(dataset, probe)
    possible_views = (1, 2, 6) if augmentation.flip and min(dataset.image_size) >= 8 else (1,)
    networks = [fitting(one, dataset) for one in ((network,) if network else frontier.networks)]
    if network is None and seconds is None and machine.device == "cpu":
        networks = networks[:-1]  # Nobody has said how long it may take, and the largest takes hours.
    trials = len(networks) if machine.device == "cuda" else 2 if seconds is not None and seconds < LONG else 3

    def promise(costs: Costs, config: NetworkConfig, views: int) -> _Choice:
        step, forward = costs.expected(config)
        evaluation = JUDGING_SECONDS + evaluation_seconds(dataset, views, forward)
        passes = epochs or 1.0
        if epochs is None and seconds is not None:
            left = seconds - (time.monotonic() - began) - SETUP_SECONDS - report_seconds
            passes = (left - evaluation) / (step * len(dataset.train))
        accuracy = frontier.accuracy(config, passes, len(dataset.train), views)
        recipe = replace(costs.recipe, network=config, views=views)
        return _Choice(recipe, passes, evaluation, accuracy, costs)

    def best(costs: Costs, configs: Sequence[NetworkConfig]) -> _Choice:
        promises = (promise(costs, config, views) for config in configs for views in possible_views)
        return max(promises, key=lambda one: one.accuracy)

    def try_networks(batch_size: int) -> Costs:
        """Measure the cheapest, and the best by that guess, which may change the choice, until it does not."""
        recipe = Recipe(network=networks[0], batch_size=batch_size, augmentation=augmentation)
        costs = Costs(recipe, dataset, machine, seed, max_memory)
        costs.measure(networks[0])
        for _ in range(trials):
            config = best(costs, networks).recipe.network
            if config in costs.measured:
                break
            costs.measure(config)
        return costs

    usual = try_networks(choose_batch_size(len(dataset.train)))
    chosen = best(usual, list(usual.measured))
    many = chosen.passes * len(dataset.train) / LARGE_BATCH_IMAGES
    if machine.device == "cuda" and large_batches and len(dataset.train) >= 20 * LARGE_BATCH and many >= 1 / 3:
        large = best(costs := try_networks(LARGE_BATCH), list(costs.measured))
        chosen = best(usual, [chosen.recipe.network])  # The time that is left is less now.
        if large.passes * len(dataset.train) >= LARGE_BATCH_IMAGES and large.accuracy >= chosen.accuracy:
            chosen = large
    known = chosen.costs.measured[chosen.recipe.network]
    recipe, memory_reason = fit_memory(chosen.recipe, known, max_memory)
    start = spent + time.monotonic() - began
    budget = None if seconds is None else seconds + spent
    plan = _finished(recipe, dataset, machine, known, budget, chosen.passes, start, chosen.evaluation, report_seconds)
    expected, interval = frontier.expectation(recipe.network, plan.epochs, dataset, probe, recipe.views)
    return replace(
        plan,
        recipe=replace(
            recipe,
            filter_rate=choose_filter_rate(plan.steps, recipe.batch_size),
            pruning=choose_pruning(plan.epochs, len(dataset.train)),
        ),
        expected_accuracy=expected,
        expected_accuracy_interval=interval,
        reasons=tuple(filter(None, (why, memory_reason, frontier.reason(dataset, probe)))),
    )


@dataclass(frozen=True)
class _Choice:
    """A way to train: how many passes fit, seconds of the evaluation, the accuracy it promises, and what costs what."""

    recipe: Recipe
    passes: float
    evaluation: float
    accuracy: float
    costs: Costs


class Costs:
    """What networks cost here: measured for some, and for the others expected from those.

    Args:
        recipe: how they are trained, but for the network.
        dataset, machine, seed, max_memory: as of :func:`~rung.training.measure.measure_cost`.
    """

    def __init__(
        self, recipe: Recipe, dataset: Dataset, machine: Machine, seed: int, max_memory: float | None = None
    ) -> None:
        self.measured: dict[NetworkConfig, Cost] = {}
        self._sizes: dict[NetworkConfig, float] = {}
        self.recipe, self._dataset, self._machine = recipe, dataset, machine
        self._how = (machine, seed, max_memory)

    def measure(self, config: NetworkConfig) -> Cost:
        """The cost of a network, timed the first time that it is asked for; :data:`NEVER` where a GPU has no room."""
        if config not in self.measured:
            recipe = replace(self.recipe, network=config)
            try:
                self.measured[config] = measure_cost(recipe, self._dataset, *self._how)
            except torch.OutOfMemoryError:
                self.measured[config] = Cost(network_size(config, self._dataset), NEVER, NEVER, 0, 0)
        return self.measured[config]

    def expected(self, config: NetworkConfig) -> tuple[float, float]:
        """Seconds an image in a training step, and in a forward pass; at least one network must be measured.

        They follow a power of the multiply-adds through the nearest measured network: that of the measured ones, within
        reason, or at first :data:`GROWTH`.
        """
        if config in self.measured:
            return self.measured[config].step, self.measured[config].forward
        if config not in self._sizes:
            self._sizes[config] = math.log(network_size(config, self._dataset).multiply_adds)
        size = self._sizes[config]
        known = sorted((math.log(cost.size.multiply_adds), cost.step, cost.forward) for cost in self.measured.values())
        (smallest, least, _), (largest, most, _) = known[0], known[-1]
        # On a GPU, which small networks leave idle, seconds may hardly grow at all.
        power, least_power = (0.5, 0.0) if self._machine.device == "cuda" else (GROWTH, 0.4)
        if largest > smallest:
            power = min(1.1, max(least_power, math.log(most / least) / (largest - smallest)))
        nearest, step, forward = min(known, key=lambda entry: abs(entry[0] - size))
        share = math.exp(power * (size - nearest))
        return step * share, forward * share


def plan_recipe(
    recipe: Recipe,
    dataset: Dataset,
    machine: Machine,
    *,
    seconds: float | None,
    spent: float = 0.0,
    epochs: float | None = None,
    max_memory: float | None = None,
    seed: int = 0,
    report_seconds: float = REPORT_SECONDS,
    known: Cost | None = None,
    evaluation: float | None = None,
    reasons: Sequence[str] = (),
) -> Plan:
    """The plan for a recipe that is chosen already: its steps are timed, and as many as fit are planned.

    There is no forecast: no table was measured for it. ``known`` is what it costs, where its steps are timed already;
    ``evaluation`` is what that will take, in seconds, where it is known better than from trial steps; ``reasons`` say
    why this recipe. The other arguments and the errors are those of :func:`make_plan`.
    """
    began = time.monotonic()
    known = known or measure_cost(recipe, dataset, machine, seed, max_memory)
    recipe, memory_reason = fit_memory(recipe, known, max_memory)
    if evaluation is None:
        evaluation = JUDGING_SECONDS + evaluation_seconds(dataset, recipe.views, known.forward)
    if epochs is None and seconds is not None:
        left = seconds - (time.monotonic() - began) - SETUP_SECONDS - report_seconds - evaluation
        epochs = left / (known.step * len(dataset.train))
    start = spent + time.monotonic() - began
    budget = None if seconds is None else seconds + spent
    plan = _finished(recipe, dataset, machine, known, budget, epochs or 1.0, start, evaluation, report_seconds)
    return replace(plan, reasons=tuple(filter(None, (*reasons, memory_reason))))


def _finished(
    recipe: Recipe,
    dataset: Dataset,
    machine: Machine,
    known: Cost,
    budget: float | None,
    epochs: float,
    start: float,
    evaluation: float,
    report_seconds: float,
) -> Plan:
    """The plan without forecast and reasons; ``start`` is what it has taken until now.

    Raises:
        UsageError: there is no time for a single step.
    """
    planned = epochs * max(1, len(dataset.train) // recipe.batch_size)
    steps = int(planned) if budget is not None else max(1, round(planned))
    if steps < 1:
        raise UsageError(
            f"the budget leaves no time for a single training step: the start takes {start:.1f} s, evaluation and "
            f"report take {evaluation + report_seconds:.1f} s; give a larger --budget"
        )
    return Plan(
        recipe=recipe,
        budget=budget,
        epochs=epochs,
        steps=steps,
        parameters=known.size.parameters,
        multiply_adds=known.size.multiply_adds,
        image_size=dataset.image_size,
        precision=machine.precision,
        expected_accuracy=None,
        expected_accuracy_interval=None,
        expected_seconds={
            "start": start + SETUP_SECONDS,
            "training": known.step * len(dataset.train) * epochs,
            "evaluation": evaluation,
            "report": report_seconds,
        },
        reasons=(),
    )


def choose_augmentation(dataset: Dataset, probe: Probe) -> tuple[Augmentation, str]:
    """Mirror images where they are safe, shifts of a sixteenth of the side; and a sentence that says why."""
    flip = probe.mirroring_is_safe
    consequence = "is used" if flip else "would change what the images show and is left out"
    reason = (
        f"A linear classifier gets {probe.accuracy:.0%} of unseen images right and {probe.mirrored_accuracy:.0%} of "
        f"their mirror images, so mirroring {consequence}."
    )
    return Augmentation(flip=flip, translate=max(1, min(dataset.image_size) // 16)), reason


def choose_batch_size(images: int) -> int:
    """250 images, or fewer when an epoch would have less than twenty steps."""
    return max(8, min(BATCH, images // 20))


def fitting(config: NetworkConfig, dataset: Dataset) -> NetworkConfig:
    """The network with its stem's stride as images of another size than CIFAR-10's need it: then they cost as much.

    Larger ones get a longer stride, smaller ones a shorter one.
    """
    if not isinstance(config, FastConfig):
        return config
    stride = max(1, round(config.stem_stride * min(dataset.image_size) / 32))
    if stride == config.stem_stride:
        return config
    return replace(config, stem_stride=stride, stem_size=stride + 1)


def choose_filter_rate(steps: float, batch_size: int = BATCH) -> float:
    """Muon's peak rate: 0.24 for up to 190 steps (an epoch of CIFAR-10), falling with their square root to 0.1.

    On validation images, 0.24 was better than 0.12 by 1.4 points after one epoch and worse by 0.5 after three. Larger
    batches than usual take steps that are longer by the square root of the ratio.
    """
    larger = max(1.0, batch_size / BATCH)
    return float(min(0.24, max(0.1, 0.24 * (190 / max(steps * larger, 1.0)) ** 0.5) * larger**0.5))


def choose_pruning(passes: float, images: int) -> float:
    """The share of the images that later passes leave out: some, where there are later ones and images enough.

    Where there are few images for so many passes, the network comes to know all of them, and needs each.
    """
    return PRUNING if passes >= PRUNED_PASSES and images >= IMAGES_FOR_A_PASS * passes else 0.0


def choose_image_size(
    uniform: tuple[int, int] | None, median: tuple[int, int], images: int, budget: float | None
) -> int | None:
    """Side in pixels to which images are brought, or None to keep their own.

    Args:
        uniform: height and width if all images have the same.
        median: of height and width.
        images: how many there are.
        budget: seconds of the whole command.

    Small images of one size are kept. Others get the more pixels the more time there is for each, and never
    more than they have.
    """
    if uniform is not None and max(uniform) <= 48:
        return None
    each = (budget or 120.0) / max(1, images)
    wanted = next((side for limit, side in ((0.001, 32), (0.005, 48), (0.02, 64), (0.1, 96)) if each < limit), 128)
    available = min(uniform or median)
    return max(8, min(wanted, available)) if available < wanted else wanted


def evaluation_seconds(dataset: Dataset, views: int, forward: float) -> float:
    """Time of the final evaluation's predictions, from the seconds that one view of one image takes."""
    images = len(dataset.test) + len(dataset.val) + min(TRAIN_SAMPLE, len(dataset.train))
    return images * views * forward


def fit_memory(recipe: Recipe, cost: Cost, max_memory: float | None) -> tuple[Recipe, str]:
    """Shrink the batch until the training fits into ``max_memory`` bytes; and a sentence if it had to be.

    Raises:
        UsageError: not even a batch of eight fits.
    """
    if max_memory is None:
        return recipe, ""
    left = max_memory - cost.base_bytes
    fitting_images = math.floor(left / cost.bytes_per_image)
    if fitting_images < 8:
        needed = cost.base_bytes + 8 * cost.bytes_per_image
        raise UsageError(
            f"--max-memory {max_memory / 2**20:.0f} MiB is too small: training needs at least {needed / 2**20:.0f} MiB"
        )
    if fitting_images >= recipe.batch_size:
        return recipe, ""
    return (
        replace(recipe, batch_size=fitting_images),
        f"Batches of {fitting_images} instead of {recipe.batch_size} keep within {max_memory / 2**20:.0f} MiB.",
    )


def build_model(recipe: Recipe, dataset: Dataset, device: torch.device, seed: int) -> Classifier:
    """A fresh classifier: weights from the seed, normalisation and whitening from the training split alone."""
    torch.manual_seed(seed)
    # Enough images for the statistics of pixels and patches; not so many that large ones fill the memory.
    sampled = max(25, min(5000, 5_000_000 // dataset.train.images[0].size))
    sample = dataset.train.take(slice(0, None, max(1, len(dataset.train) // sampled)))
    network = recipe.network.build(dataset.image_size, dataset.channels, len(dataset.classes))
    normalisation = getattr(network, "normalisation", None)
    if normalisation is not None:  # What it knows already, it knows of pixels that were normalised so.
        mean, std = normalisation()
    else:
        pixels = torch.from_numpy(sample).flatten(0, 2).float()
        mean, std = pixels.mean(0).numpy(), pixels.std(0, correction=0).numpy() + 1e-3
    model = Classifier(network, mean, std, recipe.views)
    initialise = getattr(network, "initialise", None)
    if initialise is not None:
        initialise(model.normalise(torch.from_numpy(sample)))
    return model.to(device)
