"""The training loop, from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rung.data.batches import Batches, Passes, make_batches
from rung.data.dataset import Dataset, Split
from rung.memory import keeping_freed_memory
from rung.models.classifier import Classifier, predict
from rung.runs import Epoch
from rung.training.clocks import Clock
from rung.training.optimizers import Optimizers
from rung.training.pace import Pace
from rung.training.pruning import BEGINNING, kept_images
from rung.training.recipe import Recipe
from rung.training.step import Outcome, Step, step_for
from rung.training.watching import Watcher

# Steps whose figures are read together, at most, by the kind of device: reading waits for all that a GPU was given.
# They do not take longer together than so many seconds either, for the learning rate follows the clock.
READ_TOGETHER = {"cpu": 1, "cuda": 16}
READ_SECONDS = 0.05


class Observer(Protocol):
    """Who wants to know how the training goes."""

    def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
        """Called after every step; must cost next to nothing."""
        ...

    def row(self, state: TrainingState) -> None:
        """Called when a row has been added to ``state.history``."""
        ...


class Window:
    """Running figures of the training batches since the last row, up to the last :meth:`read`.

    Args:
        images, steps, correct, loss_sum: what a checkpoint kept of one that is to go on.
        seconds: that it had lasted.
    """

    def __init__(
        self, images: int = 0, steps: int = 0, correct: int = 0, loss_sum: float = 0.0, seconds: float = 0.0
    ) -> None:
        self.images, self.steps, self.correct, self.loss_sum, self.seconds = images, steps, correct, loss_sum, seconds
        self._start = time.monotonic() - seconds
        self._unread: list[tuple[Tensor, Tensor, int]] = []

    def values(self) -> dict[str, float]:
        """The arguments that make it again."""
        self.read()
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def add(self, outcome: Outcome) -> None:
        """Count a step; it is in the figures once it has been read, with some others where that is faster."""
        correct = (outcome.logits.argmax(1) == outcome.labels).sum()
        self._unread.append((outcome.loss, correct, len(outcome.labels)))
        together = READ_TOGETHER.get(outcome.loss.device.type, 1)
        if self.steps and self.seconds:
            together = min(together, int(READ_SECONDS * self.steps / self.seconds))
        if len(self._unread) >= together or not self.steps:
            self.read()

    def read(self) -> None:
        """Take all steps that were counted into the figures."""
        if self._unread:
            losses, correct, images = zip(*self._unread, strict=True)
            self._unread = []
            self.steps += len(images)
            self.images += sum(images)
            self.loss_sum = sum(torch.stack(losses).tolist(), self.loss_sum)
            self.correct += int(torch.stack(correct).sum())
        self.seconds = time.monotonic() - self._start

    @property
    def is_lost(self) -> bool:
        """Whether a loss was not a number."""
        return self.steps > 0 and not math.isfinite(self.loss_sum)

    @property
    def loss(self) -> float:
        return self.loss_sum / self.steps if self.steps else math.nan

    @property
    def accuracy(self) -> float:
        return self.correct / self.images if self.images else math.nan

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.images and self.seconds else math.nan


@dataclass
class TrainingState:
    """Where a training is: everything that resuming it needs, apart from the recipe and the seed.

    ``seconds`` is time spent in the loop; ``best`` holds the weights with the best validation accuracy of
    all rows of the history, and ``best_accuracy`` that accuracy; ``round`` counts the recipe's rounds that
    are over. ``passes`` says which images the passes of now show. ``window`` has the steps since the last row;
    ``crowded_threads`` are those that did best in the end, where other programs had the cores; ``watcher`` has seen
    every step, for a diagnosis.
    """

    model: Classifier
    optimizers: Optimizers
    step: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_accuracy: float = -1.0
    rate_scale: float = 1.0
    round: int = 0
    passes: Passes = field(default_factory=Passes)
    loss: float = math.nan
    accuracy: float = math.nan
    images_per_second: float = math.nan
    window: Window = field(default_factory=Window)
    crowded_threads: int | None = None
    watcher: Watcher = field(default_factory=Watcher)

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(value.isfinite().all()) for value in self.model.state_dict().values())

    def keep_if_best(self, accuracy: float) -> None:
        values = self.model.state_dict()
        # Overflown statistics can hide behind a loss that looks like any other.
        if accuracy >= self.best_accuracy and self.is_finite():
            self.best_accuracy = accuracy
            self.best = {name: value.clone() for name, value in values.items()}


@keeping_freed_memory()
def fit(
    state: TrainingState,
    dataset: Dataset,
    recipe: Recipe,
    clock: Clock,
    *,
    seed: int,
    precision: str,
    steps_per_row: int,
    validation: Split,
    observer: Observer,
    stop: Callable[[], bool] = lambda: False,
    pace: Pace | None = None,
) -> None:
    """Train ``state.model`` until the clock or ``stop`` says so, and leave the best weights in it.

    Those are the last ones, unless the training was stopped early or an earlier row was better by more than the
    standard error of its validation accuracy; with a recipe that does not keep the best, always the last ones.

    Args:
        state: where to start; changed in place.
        dataset: its training split is learnt from.
        recipe: how to train.
        clock: how long to train; the learning rates follow its progress.
        seed: orders and variations derive from it and the step number alone.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``.
        steps_per_row: steps between two rows of the history.
        validation: the images that the rows' validation figures are measured on.
        observer: told about every step and row.
        stop: asked before each step; True ends the training early.
        pace: told about every step, and may change the number of threads.
    """
    model, device = state.model, state.model.mean.device
    batches = make_batches(dataset.train, recipe.batch_size, recipe.augmentation, seed, device)
    batches.passes = state.passes

    def new_step() -> Step:
        return step_for(device)(
            model,
            state.optimizers,
            batches,
            recipe,
            classes=len(dataset.classes),
            precision=precision,
            watcher=state.watcher,
        )

    step = new_step()
    if not state.window.steps:
        state.window = Window()  # Its time begins now.
    model.train()
    started = time.monotonic() - state.seconds
    # A head that was fitted before the first step took time that no step takes.
    before = state.history[0].seconds if state.history and state.history[0].step == 0 else 0.0
    # However little time there is, one step is made, so that there is something to evaluate.
    while ((progress := clock.progress(state.step)) < 1 or state.step == 0) and not stop():
        if recipe.round(progress) > state.round:
            state.window.read()
            if state.window.is_lost:
                _retreat(state, recipe)
            elif not state.history or state.history[-1].step < state.step:
                _add_row(state, batches.steps_per_epoch, recipe, progress, validation, precision)
                observer.row(state)
            state.round = recipe.round(progress)
            model.load_state_dict(state.best)
            state.optimizers = Optimizers(model.network, recipe)
            step, state.window = new_step(), Window()
        if recipe.pruning and progress >= BEGINNING:
            _prune(state, batches, recipe.pruning)
        # Dropout draws from torch's generator: like all else, what it draws depends on the seed and the step alone.
        _seed(device, (seed * 1_000_003 + state.step) % 2**63)
        outcome = step(state.step, recipe.rate(progress) * state.rate_scale)
        state.watcher.after(progress, batches.positions(state.step), *outcome, len(dataset.train))
        state.step += 1
        window = state.window
        window.add(outcome)
        if state.step % steps_per_row == 0:
            window.read()
        if window.steps:
            state.loss, state.accuracy, state.images_per_second = window.loss, window.accuracy, window.images_per_second
        state.seconds = time.monotonic() - started - clock.paused
        if window.is_lost:
            _retreat(state, recipe)
            step, state.window = new_step(), Window()
        elif state.step % steps_per_row == 0:
            _add_row(state, batches.steps_per_epoch, recipe, progress, validation, precision)
            state.window = Window()
            state.seconds = time.monotonic() - started - clock.paused
            # A network can die with a finite loss: only its running statistics overflow.
            if not state.is_finite():
                _retreat(state, recipe)
                step = new_step()
            observer.row(state)
        observer.step(state, progress, clock.seconds_left(state.step, (state.seconds - before) / state.step))
        if pace is not None:
            pace.stepped()
    window = state.window
    window.read()
    if window.is_lost and state.history:
        _retreat(state, recipe)
    elif (window.images and window.images >= 0.2 * steps_per_row * batches.batch_size) or not state.history:
        _add_row(state, batches.steps_per_epoch, recipe, progress, validation, precision)
        observer.row(state)
    # At the end of the schedule the last weights are the best but for the noise of a small validation sample.
    accuracy = state.history[-1].val_accuracy
    noise = math.sqrt(max(0.0, state.best_accuracy * (1 - state.best_accuracy)) / len(validation))
    earlier = recipe.keep_best and (progress < 1 or accuracy < state.best_accuracy - noise)
    # Weights that are numbers can be so large that their products are not.
    if earlier or not state.is_finite() or not math.isfinite(state.history[-1].val_loss):
        model.load_state_dict(state.best)


def _prune(state: TrainingState, batches: Batches, share: float) -> None:
    """With the first step of a pass: choose what it shows."""
    number, place = batches.pass_of(state.step)
    if place == 0 and number > 0:
        random = np.random.default_rng((batches.seed, number))
        kept = kept_images(state.watcher.latest_losses(), share, random)
        if len(kept) >= batches.batch_size:
            state.passes = batches.passes = Passes(number, state.step, kept)


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generator of ``device``; :func:`torch.manual_seed` takes a millisecond for those that are not there."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _add_row(
    state: TrainingState,
    steps_per_epoch: int,
    recipe: Recipe,
    progress: float,
    validation: Split,
    precision: str,
) -> None:
    probabilities = torch.from_numpy(predict(state.model, validation, precision=precision, views=1))
    labels = torch.from_numpy(validation.labels)
    accuracy = float((probabilities.argmax(1) == labels).float().mean())
    loss = float(F.nll_loss(probabilities.clamp(min=1e-12).log(), labels))
    state.history.append(
        Epoch(
            epoch=state.step / steps_per_epoch,
            step=state.step,
            seconds=state.seconds,
            learning_rate=recipe.rate(progress) * recipe.peak_rate * state.rate_scale,
            train_loss=state.window.loss,
            train_accuracy=state.window.accuracy,
            val_loss=loss,
            val_accuracy=accuracy,
            images_per_second=state.window.images_per_second,
        )
    )
    if math.isfinite(loss):
        state.keep_if_best(accuracy)


def _retreat(state: TrainingState, recipe: Recipe) -> None:
    """After a loss or weights that are not numbers: back to the best weights, with half the learning rates."""
    state.watcher.retreat(state.step)
    state.model.load_state_dict(state.best)
    state.rate_scale *= 0.5
    state.optimizers = Optimizers(state.model.network, recipe)
