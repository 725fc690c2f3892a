"""A linear layer on the features of a pretrained network, with its regularisation cross-validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from rung.training.features import Features

# What the sum of the squared weights is divided by, as a logistic regression's C: from strong to weak regularisation.
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
FOLDS = 5
# Images beyond which the regularisation is chosen on so many of them. Of 2,250 images of CIFAR-10, 600 chose the
# strength that all of them choose, in a third of the time.
CHOOSING = 600
_ITERATIONS = 40


@dataclass(frozen=True)
class Head:
    """A linear layer: ``weight`` (classes, D), ``bias`` (classes,), and the ``strength`` that it was fitted with."""

    weight: Tensor
    bias: Tensor
    strength: float

    def logits(self, rows: Tensor) -> Tensor:
        return rows @ self.weight.T + self.bias


def fit_head(features: Features, classes: int, widths: Sequence[int], seed: int) -> Head:
    """Logistic regression, as strongly regularised as cross-validation finds best.

    Every feature is brought to mean 0 and deviation 1, and every map's features to the same joint weight.

    Args:
        features: of the training images.
        classes: how many there are.
        widths: how many features each map has.
        seed: of the folds.
    """
    fitting = features
    if len(features) > CHOOSING:
        fitting = features.at(np.sort(np.random.default_rng((seed, 21)).permutation(len(features))[:CHOOSING]))
    strength = choose_strength(fitting, classes, widths, seed)
    return fit_with(features, classes, widths, (strength,))[0]


def choose_strength(features: Features, classes: int, widths: Sequence[int], seed: int) -> float:
    """The least strength whose held-out cross-entropy is within a standard error of the best one's.

    The rule of one standard error is Breiman et al.'s (1984, "Classification and regression trees", section 3.4.3).
    """
    cuts = folds(features.labels.numpy(), FOLDS, seed)
    if len(cuts) < 2:
        return 1.0
    losses = torch.empty(len(STRENGTHS), len(features))
    for held_out in cuts:
        learnt = np.setdiff1d(np.arange(len(features)), held_out)
        unseen = features.at(held_out)
        for place, head in enumerate(fit_with(features.at(learnt), classes, widths, STRENGTHS)):
            logits = head.logits(unseen.to_predict())
            losses[place, torch.from_numpy(held_out)] = F.cross_entropy(logits, unseen.labels, reduction="none")
    means = losses.mean(1)
    best = int(means.argmin())
    allowed = float(means[best]) + float(losses[best].std()) / len(features) ** 0.5
    return STRENGTHS[int((means <= allowed).nonzero()[0])]


def folds(labels: npt.NDArray[np.int64], count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Positions in up to ``count`` parts, each class spread evenly; fewer parts where the smallest class is smaller."""
    present, sizes = np.unique(labels, return_counts=True)
    count = min(count, int(sizes.min()))
    random = np.random.default_rng((seed, 22))
    part = np.empty(len(labels), np.int64)
    start = 0
    for label in present:
        members = random.permutation(np.flatnonzero(labels == label))
        # Each class begins where the last one ended, so that the parts differ by one image at most.
        part[members] = (np.arange(len(members)) + start) % count
        start += len(members)
    return [np.flatnonzero(part == number) for number in range(count)]


def fit_with(features: Features, classes: int, widths: Sequence[int], strengths: Sequence[float]) -> list[Head]:
    """A head for each strength, given in rising order: each starts where the one before it ended."""
    rows, labels = features.to_learn()
    mean, scale = rows.mean(0), rows.std(0) + 1e-3
    scale = scale * torch.cat([torch.full((width,), float(width) ** 0.5) for width in widths])
    inputs = (rows - mean) / scale
    turn: Tensor | None = None
    if len(inputs) < inputs.shape[1]:
        # The best weights are sums of rows; in the coordinates of the space that these span there are fewer.
        turn = torch.linalg.qr(inputs.T).Q
        inputs = inputs @ turn
    inputs = torch.cat([inputs, torch.ones(len(rows), 1)], 1)
    weights = torch.zeros(classes, inputs.shape[1])
    heads = []
    for strength in strengths:
        weights = _minimised(inputs, labels, weights, 1 / (strength * len(rows)))
        weight = (weights[:, :-1] if turn is None else weights[:, :-1] @ turn.T) / scale
        heads.append(Head(weight.contiguous(), weights[:, -1] - weight @ mean, strength))
    return heads


def _minimised(inputs: Tensor, labels: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """The weights with the least cross-entropy plus half the penalty times their squares, by L-BFGS.

    The last column of ``weights`` (classes, D + 1), where the search starts, is the bias, which is not penalised. Rows
    are classes because products of a tall matrix with a few columns take up to ten times as long as these.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        current = torch.from_numpy(values).float().view(weights.shape)
        shares = F.linear(inputs, current).log_softmax(1)
        error = shares.exp()
        error[torch.arange(len(labels)), labels] -= 1
        gradient = error.T.contiguous() @ inputs / len(labels)
        gradient[:, :-1] += penalty * current[:, :-1]
        value = F.nll_loss(shares, labels) + 0.5 * penalty * (current[:, :-1] ** 2).sum()
        return float(value), gradient.double().flatten().numpy()

    start = weights.double().flatten().numpy()
    # scipy's own threads wait for work by spinning, on the cores that torch's threads need: three times as slow.
    with threadpool_limits(1, user_api="blas"):
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS, "gtol": 1e-5})
    return torch.from_numpy(found.x).float().view(weights.shape)
