"""From predicted probabilities to an :class:`Evaluation`.

scikit-learn computes what it can. Importing any part of it costs more than a second of CPU time (it imports
SciPy's statistics and, where installed, pandas), so it is imported when the first evaluation needs it, or by
:func:`preload` at a moment that suits the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rung.evaluation.calibration import expected_calibration_error, reliability_bins
from rung.evaluation.intervals import wilson
from rung.evaluation.result import ClassScores, Evaluation

# scikit-learn expands labels to one-hot and sorts whole rows; in blocks of this many numbers both stay small.
BLOCK = 4_000_000


def preload() -> None:
    """Import scikit-learn now, so that the first :func:`evaluate` does not have to."""
    import sklearn.metrics  # noqa: F401


def evaluate(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    train_accuracy: float,
    val_accuracy: float,
    val_images: int,
    seconds: float,
    wall_seconds: float,
    images_per_second: float,
) -> Evaluation:
    """Compute every metric of a classifier on one split.

    Args:
        probabilities: shape (N, K), rows that sum to 1; the prediction is the most probable class.
        labels: shape (N,), the true classes, from 0 to K - 1.
        classes: the K class names.
        train_accuracy, val_accuracy: fractions from 0 to 1, passed through.
        val_images: how many images ``val_accuracy`` was measured on, for its interval.
        seconds: time spent training, passed through, as are the next two.
        wall_seconds: time of the whole command.
        images_per_second: training images a second.

    Returns:
        The evaluation. A score that would divide by zero (the precision of a class never predicted) is 0.
        Macro averages are over the classes that occur among the labels or the predictions.

    Raises:
        ValueError: shapes do not fit together, there is no image, a label is out of range, or a probability
            is not a number.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    _check(probabilities, labels, len(classes))
    images, count = probabilities.shape
    predictions = probabilities.argmax(1)
    correct = predictions == labels
    matrix = confusion_matrix(labels, predictions, labels=np.arange(count))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=np.arange(count), zero_division=0.0
    )
    occurs = matrix.sum(0) + matrix.sum(1) > 0
    bins = reliability_bins(probabilities.max(1).astype(np.float64), correct)
    log_loss, top5 = _log_loss_and_top5(probabilities, labels)
    return Evaluation(
        classes=tuple(classes),
        test_images=images,
        accuracy=float(correct.mean()),
        accuracy_interval=wilson(int(correct.sum()), images),
        macro_precision=float(precision[occurs].mean()),
        macro_recall=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        weighted_precision=float(np.average(precision, weights=support)),
        weighted_recall=float(np.average(recall, weights=support)),
        weighted_f1=float(np.average(f1, weights=support)),
        per_class=tuple(
            ClassScores(name, float(precision[k]), float(recall[k]), float(f1[k]), int(support[k]))
            for k, name in enumerate(classes)
        ),
        confusion_matrix=tuple(map(tuple, matrix.tolist())),
        top5_accuracy=top5,
        log_loss=log_loss,
        expected_calibration_error=expected_calibration_error(bins),
        reliability=bins,
        train_accuracy=float(train_accuracy),
        val_accuracy=float(val_accuracy),
        val_accuracy_interval=wilson(float(val_accuracy) * val_images, val_images),
        seconds=float(seconds),
        wall_seconds=float(wall_seconds),
        images_per_second=float(images_per_second),
    )


def _check(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], count: int) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != count or count < 2:
        raise ValueError(
            f"probabilities of shape {probabilities.shape} for {count} classes: expected (images, classes)"
        )
    if len(probabilities) == 0 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"{labels.shape} labels for {len(probabilities)} rows of probabilities")
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, but there are {count} classes")
    if not np.isfinite(probabilities).all():
        raise ValueError("some probabilities are not finite numbers: the network has diverged")


def _log_loss_and_top5(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[float, float | None]:
    """Mean log loss in nats, and the share of images whose class is among the five most probable."""
    from sklearn.metrics import log_loss, top_k_accuracy_score

    images, count = probabilities.shape
    every = np.arange(count)
    loss = hits = 0.0
    rows = max(1, BLOCK // count)
    for start in range(0, images, rows):
        block, truth = probabilities[start : start + rows], labels[start : start + rows]
        loss += float(log_loss(truth, block, labels=every, normalize=False))
        if count > 5:
            hits += float(top_k_accuracy_score(truth, block, k=5, labels=every, normalize=False))
    return loss / images, hits / images if count > 5 else None
