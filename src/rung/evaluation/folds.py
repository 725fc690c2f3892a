"""How good a classifier is that all images train: every image judged once by one that had not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rung.errors import UsageError
from rung.evaluation.intervals import wilson
from rung.evaluation.learning_curve import Forecast, forecast
from rung.training.features import Features
from rung.training.head import choose_strength, fit_with, folds

Positions = npt.NDArray[np.int64]

# Parts of the training images of a fold that the points of the learning curve are learnt from.
PARTS = (0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Estimate:
    """What cross-validation says.

    Attributes:
        folds: parts that the images were cut into.
        images: all of them.
        accuracy: share of the images that were answered right by a head that had not seen them.
        interval: 95 %: the wider of two. Wilson's for the pooled answers knows nothing of how much the heads depend on
            their training images; the corrected resampled t (Nadeau and Bengio 2003, "Inference for the generalization
            error") widens the scatter of the folds for the images that they share. No unbiased one exists (Bengio and
            Grandvalet 2004).
        by_fold: accuracy on each part.
        curve: training images and accuracy, from few to all of a fold's.
        doubled: what twice the images may be expected to bring.
    """

    folds: int
    images: int
    accuracy: float
    interval: tuple[float, float]
    by_fold: tuple[float, ...]
    curve: tuple[tuple[int, float], ...]
    doubled: Forecast

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """The estimate for people."""
        (low, high), (least, most) = self.interval, self.doubled.interval
        return [
            f"{self.folds} folds of all {self.images:,} images: accuracy {self.accuracy:.1%} (95 % interval {low:.1%} "
            f"to {high:.1%}), of heads on the frozen network",
            f"With twice the images you may expect {self.doubled.accuracy:.1%} "
            f"(nine of ten cases: {least:.1%} to {most:.1%})",
        ]


def estimate(features: Features, classes: int, widths: Sequence[int], count: int, seed: int) -> Estimate:
    """Cross-validate heads on features of all images, with their regularisation chosen anew inside each fold.

    Args:
        features: of all images.
        classes: how many there are.
        widths: features of each map.
        count: folds, 2 or more; as many are made as the smallest class has images, at most.
        seed: of the folds.

    Raises:
        UsageError: a class has a single image.
    """
    cuts = folds(features.labels.numpy(), count, seed)
    if len(cuts) < 2:
        raise UsageError("--folds needs two images of each class at least")
    right = torch.zeros(len(PARTS), len(features))
    sizes = np.zeros(len(PARTS))
    random = np.random.default_rng((seed, 23))
    for held_out in cuts:
        unseen = features.at(held_out)
        learnt = random.permutation(np.setdiff1d(np.arange(len(features)), held_out))
        strength = choose_strength(features.at(learnt), classes, widths, seed)
        for place, part in enumerate(PARTS):
            chosen = _each_class_first(learnt, features.labels.numpy(), max(classes, round(part * len(learnt))))
            head = fit_with(features.at(chosen), classes, widths, (strength,))[0]
            answers = head.logits(unseen.to_predict()).argmax(1)
            right[place, torch.from_numpy(held_out)] = (answers == unseen.labels).float()
            sizes[place] += len(chosen) / len(cuts)
    accuracies = right.mean(1).tolist()
    by_fold = tuple(float(right[-1, torch.from_numpy(cut)].mean()) for cut in cuts)
    # Parts of few images can all be one image a class.
    points = {round(size): accuracy for size, accuracy in zip(sizes.tolist(), accuracies, strict=True)}
    total = len(features)
    doubled = forecast(list(points), [1 - a for a in points.values()], total, 2 * total, total)
    return Estimate(
        len(cuts), total, accuracies[-1], _interval(by_fold, round(accuracies[-1] * total), total),
        by_fold, tuple(points.items()), doubled,
    )  # fmt: skip


def _interval(by_fold: Sequence[float], right: int, total: int) -> tuple[float, float]:
    from scipy.stats import t

    count = len(by_fold)
    spread = float(np.std(by_fold, ddof=1)) * (1 / count + 1 / (count - 1)) ** 0.5
    reach = float(t.ppf(0.975, count - 1)) * spread
    low, high = wilson(right, total)
    return max(0.0, min(low, right / total - reach)), min(1.0, max(high, right / total + reach))


def _each_class_first(order: Positions, labels: Positions, count: int) -> Positions:
    """The first ``count`` of ``order``, but one of each class before any second one."""
    _, firsts = np.unique(labels[order], return_index=True)
    rest = np.setdiff1d(np.arange(len(order)), firsts)
    chosen: Positions = order[np.concatenate([firsts, rest])[:count]]
    return chosen
