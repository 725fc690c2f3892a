"""What networks that have not seen an image say about it: quick trainings on parts of the data, within a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Dataset, Split
from rung.errors import UsageError
from rung.memory import keeping_freed_memory
from rung.progress import SilentDisplay, TrainingDisplay

if TYPE_CHECKING:
    from rung.models.classifier import Classifier
    from rung.training.device import Machine
    from rung.training.loop import TrainingState
    from rung.training.plan import Plan

# With two parts every network sees half of the images; with more of them the networks see more, and there are more to
# train. More parts than two are worth it where their networks still get so many passes.
PASSES = 20.0
MOST_FOLDS = 5
# Passes after which a network learns labels by heart, and wrong ones with them; and until which it has hardly begun to,
# so that what it says about images that it has learnt from counts as well.
MOST_PASSES = 40.0
FEW_PASSES = 12.0
# Images that tell whether a network has died: some of those that it learns from, because the others must stay unseen.
WATCHED = 500
_STREAM = 11


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions of the training and validation images by networks that have not seen them.

    Attributes:
        probabilities: float32 (N, K), the training images first.
        labels: int64 (N,).
        own: float32 (N,): log probability of an image's own label, by the networks that have not seen it and, where
            these were trained for a few passes only, in equal parts by those that have: the least is the most doubtful.
        splits: the name of the split of each image and its position there.
        folds: parts that the images were cut into; as many networks were trained, each on all parts but one.
        epochs: passes of a network over its images, on average.
        seconds: that all of it took.
        network: what was trained, in words.
    """

    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    own: npt.NDArray[np.float32]
    splits: tuple[tuple[str, npt.NDArray[np.int64]], ...]
    folds: int
    epochs: float
    seconds: float
    network: str

    @property
    def accuracy(self) -> float:
        return float((self.probabilities.argmax(1) == self.labels).mean())

    def positions(self, chosen: npt.NDArray[np.int64]) -> list[tuple[str, int]]:
        """Split and position of the images at ``chosen`` (0 to N - 1), in that order."""
        names = [name for name, positions in self.splits for _ in range(len(positions))]
        places = np.concatenate([positions for _, positions in self.splits])
        return [(names[number], int(places[number])) for number in chosen.tolist()]


@keeping_freed_memory()
def out_of_fold(
    dataset: Dataset,
    seconds: float,
    *,
    machine: Machine,
    seed: int = 0,
    display: TrainingDisplay | None = None,
) -> OutOfFold:
    """Predict every training and validation image by a network that has not seen it.

    The images are cut into parts, stratified; for each part a network of the fast family is trained on the others, as
    large and as long as fits. The test split is not looked at.

    Args:
        dataset: where the images are.
        seconds: for everything.
        machine: from :func:`rung.training.device.measure_machine`.
        seed: of the cuts, the weights and the orders.
        display: where progress is shown; by default nowhere.

    Raises:
        UsageError: the time is too short, or a class has fewer than two images.
    """
    import torch

    from rung.models.classifier import predict
    from rung.training.clocks import TimeClock
    from rung.training.session import new_state, plan_training, steps_per_epoch, train
    from rung.training.threads import avoiding_crowd

    deadline = time.monotonic() + seconds
    joint = Split(
        "train",
        dataset.train.images,
        np.concatenate([dataset.train.rows, dataset.val.rows]),
        np.concatenate([dataset.train.labels, dataset.val.labels]),
        dataset.train.files,
    )
    if np.bincount(joint.labels, minlength=len(dataset.classes)).min() < 2:
        raise UsageError("a class has a single image, so that no network can be asked that has not seen it")

    def plan_for(folds: int) -> Plan:
        part = _part(dataset, joint, _fold_of(joint.labels, folds, seed) == 0)
        left = (deadline - time.monotonic()) / folds
        with avoiding_crowd():
            return plan_training(part, machine, seconds=left, seed=seed, report_seconds=0.0)

    plan = plan_for(2)
    folds = int(min(MOST_FOLDS, max(2, 1 + plan.epochs // PASSES)))
    if folds > 2:
        plan = plan_for(folds)
    planned = plan.expected_seconds
    few = plan.epochs <= FEW_PASSES
    # The part that was held out, or all images.
    after = planned["evaluation"] * (folds if few else 1)
    longest = after + planned["training"] * min(1.0, MOST_PASSES / plan.epochs)

    fold_of = _fold_of(joint.labels, folds, seed)
    probabilities = np.full((len(joint), len(dataset.classes)), 1 / len(dataset.classes), np.float32)
    seen = np.zeros(len(joint), np.float32)
    epochs = 0.0
    for fold in range(folds):
        part = _part(dataset, joint, fold_of == fold)
        now = time.monotonic()
        clock = TimeClock(now + min(longest, (deadline - now) / (folds - fold)), after)
        state = new_state(plan.recipe, part, torch.device(machine.device), seed + fold)
        train(
            state,
            part,
            plan.recipe,
            clock,
            epochs=min(plan.epochs, MOST_PASSES),
            seconds=planned["training"],
            seed=seed + fold,
            precision=machine.precision,
            observer=_Shown(display or SilentDisplay(), fold, folds),
        )
        epochs += state.step / steps_per_epoch(part, plan.recipe) / folds

        def ask(split: Split, model: Classifier = state.model) -> npt.NDArray[np.float32]:
            # A network that has died knows nothing.
            return np.nan_to_num(predict(model, split, precision=machine.precision), nan=1 / len(dataset.classes))

        probabilities[fold_of == fold] = ask(part.test)
        if few:
            seen[fold_of != fold] += log_own(ask(part.train), part.train.labels) / (folds - 1)
    own = log_own(probabilities, joint.labels)
    return OutOfFold(
        probabilities,
        joint.labels,
        ((own + seen) / 2).astype(np.float32) if few else own,
        tuple((split.name, np.arange(len(split))) for split in (dataset.train, dataset.val)),
        folds,
        epochs,
        seconds - (deadline - time.monotonic()),
        str(plan.recipe.network),
    )


def log_own(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Log probability of each image's own label, float32 (N,)."""
    return np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).astype(np.float32)


def _fold_of(labels: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Which part each image belongs to, int64 (N,): the images of a class are dealt out in turn, in random order."""
    random = np.random.default_rng((seed, _STREAM))
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    # Dealing on from class to class keeps parts of many small classes equally large.
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(labels)) % folds
    return found


def _part(dataset: Dataset, joint: Split, held_out: npt.NDArray[np.bool_]) -> Dataset:
    """A data set whose test split is the part to predict, and whose training split the others."""
    train = joint.subset(np.flatnonzero(~held_out))
    watched = train.subset(np.linspace(0, len(train) - 1, min(WATCHED, len(train))).astype(int), "val")
    return replace(dataset, train=train, val=watched, test=joint.subset(np.flatnonzero(held_out), "test"))


class _Shown:
    """Shows the trainings as one piece of work; an :class:`~rung.training.loop.Observer`."""

    def __init__(self, display: TrainingDisplay, fold: int, folds: int) -> None:
        self._display, self._fold, self._folds = display, fold, folds

    def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
        done = (self._fold + min(progress, 1.0)) / self._folds
        self._display.progress("training networks to ask", round(100 * done), 100)

    def row(self, state: TrainingState) -> None:
        pass
