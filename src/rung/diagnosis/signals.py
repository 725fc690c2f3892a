"""Figures that several kinds of problems are told by, each a pure function of the evidence; NaN where it is missing."""

from __future__ import annotations

import math

import numpy as np

from rung.diagnosis.evidence import Evidence
from rung.training.recordings import Floats, Predicted

NAN = float("nan")
# Images a step below which it cannot be told how much an activation depends on the image.
FEW_IMAGES = 4


def majority(predicted: Predicted) -> float:
    """Accuracy of always answering the most frequent class."""
    return float(np.bincount(predicted.labels).max() / len(predicted.labels))


def noise(predicted: Predicted) -> float:
    """Standard error of its accuracy."""
    accuracy = predicted.accuracy
    return math.sqrt(max(accuracy * (1 - accuracy), 1e-4) / len(predicted.labels))


def chance_loss(evidence: Evidence) -> float:
    """Training loss, in nats, of knowing nothing but how frequent each class is, with the recipe's label smoothing."""
    if evidence.train is None:
        return NAN
    shares = np.bincount(evidence.train.labels) / len(evidence.train.labels)
    classes = max(len(evidence.classes), len(shares))
    smoothing = float(evidence.recipe.get("label_smoothing") or 0.0)
    targets = (1 - smoothing) * np.pad(shares, (0, classes - len(shares))) + smoothing / classes
    return float(-(targets * np.log(np.clip(targets, 1e-12, None))).sum())


def final_loss(evidence: Evidence) -> float:
    """Mean training loss of the last tenth of the steps, in nats."""
    losses = evidence.recordings.losses if evidence.recordings else np.zeros(0)
    last = losses[-max(1, len(losses) // 10) :]
    last = last[np.isfinite(last)]
    return float(last.mean()) if len(last) else NAN


def learnt(evidence: Evidence) -> float:
    """Share of the chance loss that the training has taken away: 0 nothing, 1 all of it."""
    chance = chance_loss(evidence)
    floor = _least_loss(evidence)
    return (chance - final_loss(evidence)) / (chance - floor) if chance > floor else NAN


def _least_loss(evidence: Evidence) -> float:
    """The loss that is left with label smoothing when every image is answered as it is asked."""
    smoothing, classes = float(evidence.recipe.get("label_smoothing") or 0.0), max(2, len(evidence.classes))
    if not smoothing:
        return 0.0
    own, other = 1 - smoothing + smoothing / classes, smoothing / classes
    return -(own * math.log(own) + (classes - 1) * other * math.log(other))


def moved(evidence: Evidence) -> Floats:
    """Size of a step relative to the weight, float32 (S, L)."""
    recordings = evidence.recordings
    if recordings is None or not len(recordings.steps):
        return np.zeros((0, 0), np.float32)
    return np.asarray(recordings.updates / np.maximum(recordings.weights, 1e-12))


def step_size(evidence: Evidence) -> float:
    """Median over layers of the largest relative step, which is that at the peak of the schedule.

    The first look is left out: an optimizer without a memory may take any step. Under Muon, whose step is its rate, it
    is divided by ten, so that both kinds of optimizer are measured on one scale.
    """
    steps = moved(evidence)[1:]
    if not steps.size:
        return NAN
    with np.errstate(invalid="ignore"):
        largest = np.nanmax(np.where(np.isfinite(steps), steps, np.nan), axis=0)
    scale = 0.1 if evidence.recipe.get("optimizer", "muon") == "muon" else 1.0
    return float(np.nanmedian(largest)) * scale


def first_over_last_gradient(evidence: Evidence) -> float:
    """Median over the looks of the first layer's gradient over the last one's."""
    recordings = evidence.recordings
    if recordings is None or recordings.gradients.shape[0] == 0 or recordings.gradients.shape[1] < 2:
        return NAN
    first, last = recordings.gradients[:, 0], recordings.gradients[:, -1]
    known = np.isfinite(first) & np.isfinite(last) & (last > 0)
    return float(np.median(first[known] / last[known])) if known.any() else NAN


def first_loss(evidence: Evidence) -> float:
    """Loss of the first step over that of knowing nothing."""
    losses = evidence.recordings.losses if evidence.recordings else np.zeros(0)
    return float(losses[0] / chance_loss(evidence)) if len(losses) else NAN


def worst_loss(evidence: Evidence) -> float:
    """Worst mean loss of ten steps after the first five, over the loss of knowing nothing; infinite if not a number."""
    losses = evidence.recordings.losses if evidence.recordings else np.zeros(0)
    if len(losses) < 6:
        return NAN
    if not np.isfinite(losses).all() or (evidence.recordings is not None and len(evidence.recordings.retreats)):
        return math.inf
    later = losses[5:]
    width = min(10, len(later))
    means = np.convolve(later, np.ones(width) / width, "valid")
    return float(means.max() / max(chance_loss(evidence), float(losses[0])))


def dead_share(evidence: Evidence, late: bool = True) -> float:
    """Largest share of dead channels of any activation, in the last quarter of the looks, or in the first look."""
    return _worst(evidence, "dead", late)


def saturated_share(evidence: Evidence, late: bool = True) -> float:
    """Largest share of saturated outputs of any activation."""
    return _worst(evidence, "saturated", late)


def _worst(evidence: Evidence, name: str, late: bool) -> float:
    table = getattr(evidence.recordings, name, None)
    if table is None or not table.size:
        return NAN
    looks = table[-max(1, len(table) // 4) :] if late else table[:1]
    return float(np.nanmax(np.nanmean(looks, 0)))


def least_spread(evidence: Evidence) -> float:
    """How much the first activation depends on the image, where it depended least; NaN with too few images a step."""
    recordings = evidence.recordings
    if recordings is None or not recordings.spread.size or int(evidence.recipe.get("batch_size") or 0) < FEW_IMAGES:
        return NAN
    return float(recordings.spread[:, 0].min())


def spread_left(evidence: Evidence) -> float:
    """What training has left of that, over what there was before the first step; NaN if there was nothing."""
    recordings = evidence.recordings
    least = least_spread(evidence)
    if recordings is None or math.isnan(least) or not recordings.spread[0, 0] > 0:
        return NAN
    return least / float(recordings.spread[0, 0])


def likeness(evidence: Evidence) -> float:
    """Mean correlation of neighbouring channels over the activations, at the first look; 1 where no weight differs."""
    recordings = evidence.recordings
    if recordings is None or not recordings.alike.size:
        return NAN
    if not recordings.weights[0, 1:-1].any() and not recordings.weights[0, :1].any():
        return 1.0
    first = recordings.alike[0]
    first = first[np.isfinite(first)]
    return float(first.mean()) if len(first) else NAN


def one_class(predicted: Predicted) -> tuple[int, float]:
    """The class that is answered most, and by how much its share of the answers exceeds its share of the images."""
    classes = predicted.probabilities.shape[1]
    answers = np.bincount(predicted.probabilities.argmax(1), minlength=classes)
    excess = (answers - np.bincount(predicted.labels, minlength=classes)) / len(predicted.labels)
    most = int(answers.argmax())
    return most, float(excess[most])


def progress_at_end(evidence: Evidence) -> float:
    """Share of the planned steps that were made."""
    steps = evidence.plan.get("steps")
    if not steps or not evidence.history:
        return NAN
    return evidence.history[-1].step / float(steps)


def rate_at_end(evidence: Evidence) -> float:
    """The last learning rate over the largest one."""
    peak = max((row.learning_rate for row in evidence.history), default=0.0)
    return evidence.history[-1].learning_rate / peak if peak > 0 else NAN


def rate_below(evidence: Evidence, share: float) -> float:
    """Part of the training from which the learning rate is known to stay below that share of its peak; at most 1."""
    peak = max((row.learning_rate for row in evidence.history), default=0.0)
    if peak <= 0:
        return NAN
    alive = max(place for place, row in enumerate(evidence.history) if row.learning_rate >= share * peak)
    rows = [row.step for row in evidence.history]
    return rows[min(alive + 1, len(rows) - 1)] / rows[-1]


def gain_after(evidence: Evidence, share: float) -> float:
    """By how much validation accuracy rose in what follows that share of the training, from mean to mean of three."""
    accuracies = [row.val_accuracy for row in evidence.history if row.step >= share * evidence.history[-1].step]
    return float(np.mean(accuracies[-3:]) - np.mean(accuracies[:3])) if accuracies else NAN


def plateau(evidence: Evidence) -> float:
    """Share of the training after which validation accuracy was as good as at the end, but for half its noise."""
    if len(evidence.history) < 8 or evidence.val is None:
        return NAN
    accuracies = np.array([row.val_accuracy for row in evidence.history])
    steps = np.array([row.step for row in evidence.history])
    # Means of three rows, so that a lucky one does not count.
    means = np.convolve(accuracies, np.ones(3) / 3, "valid")
    enough = np.flatnonzero(means >= means[-1] - 0.5 * noise(evidence.val))
    return float(steps[enough[0] + 2] / steps[-1])


def late_gain(evidence: Evidence) -> float:
    """By how much the validation loss fell in the last third of the training, over the chance loss."""
    if len(evidence.history) < 4:
        return NAN
    losses = [row.val_loss for row in evidence.history]
    place = max(0, len(losses) - 1 - max(1, len(losses) // 3))
    return (losses[place] - losses[-1]) / chance_loss(evidence)


def step_noise(evidence: Evidence) -> float:
    """Deviation of the training loss from step to step in the second half, over its mean."""
    losses = evidence.recordings.losses if evidence.recordings else np.zeros(0)
    half = losses[len(losses) // 2 :]
    if len(half) < 8 or not np.isfinite(half).all():
        return NAN
    return float(np.abs(np.diff(half)).mean() / max(float(half.mean()), 1e-9))


def recalls(predicted: Predicted) -> tuple[Floats, Floats, Floats]:
    """For each class: recall, number of images, and number of answers."""
    classes = predicted.probabilities.shape[1]
    answers = predicted.probabilities.argmax(1)
    images = np.bincount(predicted.labels, minlength=classes).astype(np.float32)
    right = np.bincount(predicted.labels[answers == predicted.labels], minlength=classes)
    return (
        (right / np.maximum(images, 1)).astype(np.float32),
        images,
        np.bincount(answers, minlength=classes).astype(np.float32),
    )
