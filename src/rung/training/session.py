"""From a data set and the time for it to trained weights: what ``rung train`` and the estimator share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from rung.data.dataset import Dataset
from rung.data.probe import probe
from rung.errors import UsageError
from rung.models.backbones import LITE0
from rung.models.pretrained import Learns, PretrainedConfig
from rung.progress import SilentDisplay, TrainingDisplay
from rung.training.adjustments import Adjustments
from rung.training.beginning import start_from_features
from rung.training.clocks import Clock
from rung.training.device import Machine
from rung.training.loop import Observer, TrainingState, fit
from rung.training.measure import network_size
from rung.training.optimizers import Optimizers
from rung.training.pace import Pace
from rung.training.plan import REPORT_SECONDS, Plan, build_model, make_plan, plan_recipe
from rung.training.plan_pretrained import hint, plan_pretrained
from rung.training.recipe import Recipe
from rung.training.rows import choose_rows
from rung.training.rungs import PRETRAINED, rung_recipe
from rung.training.threads import uncrowded_threads, worthwhile_threads

# Seconds between two reports of a step to a display.
_SHOWN = 0.25


def plan_training(
    dataset: Dataset,
    machine: Machine,
    *,
    seconds: float | None,
    spent: float = 0.0,
    epochs: float | None = None,
    max_memory: float | None = None,
    seed: int = 0,
    report_seconds: float = REPORT_SECONDS,
    rung: str | None = None,
    rounds: tuple[float, ...] | None = None,
    adjustments: Adjustments | None = None,
    pretrained: str = "auto",
    backbone: str | None = None,
    learns: Learns | None = None,
    folds: int | None = None,
) -> Plan:
    """Look at the data and plan.

    Args:
        rung: a rung of the ladder instead of the planner's choice.
        rounds: its learning rates, round by round, instead of its own; without a rung those of ``annealed``.
        adjustments: changes to the recipe that comes out.
        pretrained: ``"auto"``, ``"always"`` or ``"never"``: whether to start from a network that knows photographs.
        backbone: of the pretrained network; by default the one of the extra ``pretrained``.
        learns: what of it learns, instead of the planner's choice.
        folds: of a cross-validation that is to follow, if the training starts from such a network.
        dataset, machine, seconds, spent, epochs, max_memory, seed, report_seconds: as of
            :func:`rung.training.plan.make_plan`, as are the errors.

    Raises:
        UsageError: there is no such rung, or rounds make no sense for it.
    """
    began = time.monotonic()
    look = probe(dataset.train, len(dataset.classes), seed)
    recipe, reasons = rung_recipe(rung, rounds, dataset, look)
    given: dict[str, Any] = {
        "epochs": epochs,
        "max_memory": max_memory,
        "seed": seed,
        "report_seconds": report_seconds,
    }

    def timed() -> dict[str, Any]:
        passed = time.monotonic() - began
        return {"seconds": None if seconds is None else seconds - passed, "spent": spent + passed, **given}

    if recipe is None:
        widened = adjustments is not None and adjustments.width is not None
        if rung == PRETRAINED.name and (widened or pretrained == "never"):
            raise UsageError(f"the rung {rung} is a network that exists already; leave out the other changes")
        if rung in (None, PRETRAINED.name) and not widened:
            mode = pretrained if rung is None else "always"
            started = plan_pretrained(
                dataset,
                look,
                machine,
                mode,
                name=backbone or LITE0,
                learns=learns,
                folds=folds,
                adjustments=adjustments,
                **timed(),
            )
            if started is not None:
                return started
        own_size = adjustments is not None and adjustments.batch_size is not None
        plan = make_plan(dataset, look, machine, large_batches=not own_size, **timed())
        if not adjustments:
            advice = hint(dataset, machine, pretrained, seconds)
            return replace(plan, reasons=(*plan.reasons, advice)) if advice else plan
        recipe, reasons = plan.recipe, plan.reasons
    if adjustments:
        recipe = adjustments.apply(recipe, dataset.image_size)
        reasons = (*reasons, f"Changed as asked: {adjustments}.")
    return plan_recipe(recipe, dataset, machine, reasons=reasons, **timed())


def new_state(recipe: Recipe, dataset: Dataset, device: torch.device, seed: int) -> TrainingState:
    """A training before its first step: weights from the seed, statistics from the training split."""
    model = build_model(recipe, dataset, device, seed)
    state = TrainingState(model, Optimizers(model.network, recipe))
    state.keep_if_best(state.best_accuracy)  # There must be something to retreat to, and to checkpoint.
    return state


def steps_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    """Batches in one pass over the training split, at least 1; a head on fixed features is fitted in a single one."""
    if recipe.fits_a_head:
        return 1
    return max(1, len(dataset.train) // recipe.batch_size)


def total_steps(dataset: Dataset, recipe: Recipe, epochs: float) -> int:
    """Batches in ``epochs`` passes, at least 1."""
    return max(1, round(epochs * steps_per_epoch(dataset, recipe)))


def train(
    state: TrainingState,
    dataset: Dataset,
    recipe: Recipe,
    clock: Clock,
    *,
    epochs: float,
    seconds: float | None,
    seed: int,
    precision: str,
    observer: Observer,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train until the clock or ``stop`` says so; ``state.model`` then has the best weights.

    Args:
        state: from :func:`new_state`, or loaded from a checkpoint; changed in place.
        dataset: its training split is learnt from, its validation split chooses the weights.
        recipe: how to train.
        clock: how long to train.
        epochs: passes over the training split that are expected, or were asked for.
        seconds: that they are expected to take; None where they were asked for, because then the weights must
            not depend on the computer's speed.
        seed: of orders and variations.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``.
        observer: told about every step and row.
        stop: asked before each step; True ends the training early.
    """
    rows = choose_rows(dataset, recipe.batch_size, total_steps(dataset, recipe, epochs), seconds)
    if isinstance(recipe.network, PretrainedConfig):
        if not state.history:
            start_from_features(
                state,
                dataset,
                recipe,
                clock,
                validation=dataset.val if recipe.fits_a_head else rows.validation,
                seed=seed,
                precision=precision,
                observer=observer,
                stop=stop,
            )
        if recipe.fits_a_head:
            return
        # Warm-up and decay are for the steps that follow: they would begin in their middle.
        clock.begin(state.seconds - state.history[0].seconds)
    pace = None
    with worthwhile_threads(network_size(recipe.network, dataset).multiply_adds, recipe.batch_size):
        if seconds is not None and state.model.mean.device.type == "cpu":
            pace = Pace(uncrowded_threads())
        fit(
            state,
            dataset,
            recipe,
            clock,
            seed=seed,
            precision=precision,
            steps_per_row=rows.steps,
            validation=rows.validation,
            observer=observer,
            stop=stop,
            pace=pace,
        )
    state.crowded_threads = None if pace is None or not pace.is_crowded else pace.threads


class DisplayObserver:
    """Shows a training on a display; an :class:`~rung.training.loop.Observer`.

    Args:
        display: by default nowhere.
        steps_per_epoch: turns steps into epochs.
    """

    def __init__(self, display: TrainingDisplay | None = None, steps_per_epoch: int = 1) -> None:
        self._display = display or SilentDisplay()
        self._steps_per_epoch = steps_per_epoch
        self._last = 0.0

    def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
        now = time.monotonic()
        if now - self._last >= _SHOWN:
            self._last = now
            epoch = state.step / self._steps_per_epoch
            self._display.step(progress, epoch, state.loss, state.accuracy, state.images_per_second, seconds_left)

    def row(self, state: TrainingState) -> None:
        self._display.epoch(state.history[-1])
