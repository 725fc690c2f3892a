"""The metrics of a trained classifier on the splits of its data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data import Dataset, Split
from rung.errors import RunError
from rung.evaluation.calibration import fit_temperature
from rung.evaluation.metrics import evaluate
from rung.evaluation.result import Evaluation
from rung.models.classifier import Classifier, predict
from rung.training.plan import evaluation_seconds
from rung.training.recordings import Predicted
from rung.training.rows import TRAIN_SAMPLE
from rung.training.watching import look_at

Probabilities = npt.NDArray[np.float32]
# Images that are timed before an evaluation, or as many as the test split has; and seconds, at least: where another
# program has a core, the moments in which it waits are shorter.
TRIED, TRIED_SECONDS = 200, 0.1


def judge(
    model: Classifier,
    dataset: Dataset,
    precision: str,
    *,
    calibrate: bool = False,
    seen: tuple[Predicted, Predicted] | None = None,
    compute: Callable[..., Evaluation] = evaluate,
    **measured: float,
) -> tuple[Evaluation, Probabilities]:
    """Evaluate on the test split.

    Args:
        model: what to judge.
        dataset: its test split gives the metrics; accuracies on the whole validation split and on a sample of the
            training split stand beside them.
        precision: of the arithmetic.
        calibrate: whether to set the temperature of ``model`` first, so that its probabilities can be believed.
        seen: predictions of a sample of the training images and of the validation images, where they are known.
        compute: :func:`rung.evaluation.metrics.evaluate`, or what does the same elsewhere.
        measured: ``seconds``, ``wall_seconds`` and ``images_per_second`` of the training, passed through.

    Returns:
        The evaluation, and the probabilities of the test images, float32 (N, K).

    Raises:
        RunError: the classifier gives probabilities that are not numbers.
    """
    train, val = seen or (
        look_at(model, dataset.train, precision, TRAIN_SAMPLE),
        look_at(model, dataset.val, precision),
    )
    for predicted in (train, val):
        check_finite(predicted.probabilities)
    if calibrate:
        model.temperature.mul_(fit_temperature(val.probabilities, val.labels))
    given: dict[str, Any] = {
        "train_accuracy": train.accuracy,
        "val_accuracy": val.accuracy,
        "val_images": len(dataset.val),
        **measured,
    }
    probabilities = probabilities_of(model, dataset.test, precision)
    return compute(probabilities, dataset.test.labels, dataset.classes, **given), probabilities


def hurry(model: Classifier, dataset: Dataset, precision: str, seconds: float) -> bool:
    """Give up views of the images where the evaluation would not end in time; returns whether that was needed.

    Other programs may have slowed the computer down since the plan was made. Some images are timed, the first time
    uncounted, and the most views that fit into what is left after that are kept.

    Args:
        model: its ``views`` may be lowered.
        dataset: what it is going to be evaluated on.
        precision: of the arithmetic.
        seconds: that the evaluation may take.
    """
    began = time.perf_counter()
    # No more than there are to come, but many if those are many: so the engine is the one that will be used.
    sample = dataset.val.subset(np.resize(np.arange(len(dataset.val)), min(TRIED, len(dataset.test))))
    predict(model, sample, precision=precision, views=1)
    start, times = time.perf_counter(), 0
    while not times or time.perf_counter() - start < TRIED_SECONDS:
        predict(model, sample, precision=precision, views=1)
        times += 1
    forward = (time.perf_counter() - start) / (times * len(sample))
    seconds -= time.perf_counter() - began
    planned = model.views
    fewer = [views for views in (6, 2, 1) if views <= planned]
    model.views = next((v for v in fewer if evaluation_seconds(dataset, v, forward) <= seconds), 1)
    return model.views < planned


def probabilities_of(model: Classifier, split: Split, precision: str) -> Probabilities:
    """Class probabilities of every image of a split, float32 (N, K).

    Raises:
        RunError: some are not numbers.
    """
    probabilities = predict(model, split, precision=precision)
    check_finite(probabilities)
    return probabilities


def check_finite(probabilities: Probabilities) -> None:
    """Raises :class:`~rung.errors.RunError` where a network has diverged."""
    if not np.isfinite(probabilities).all():
        raise RunError("the network has diverged: its probabilities are not numbers; train again with another --seed")
