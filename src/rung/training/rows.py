"""When a training's history gets a row, and on which images a row is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rung.data.dataset import Dataset, Split

# Rows that a history should have at least, however few epochs the training has; and at most, however many.
LEAST = 8
MOST = 200
# Seconds between two rows where the time of a step is known; a row costs some milliseconds apart from its images.
SPACING = 0.2
# Share of the training time that the validation of the rows may take.
VALIDATION_SHARE = 0.03
# Images of the training split on which its accuracy is measured at the end, at most.
TRAIN_SAMPLE = 1000
# Images below which an accuracy says too little to choose weights by.
VALIDATION_LEAST = 100


@dataclass(frozen=True)
class Rows:
    """The rows of a history: ``steps`` from one to the next, measured on ``validation``."""

    steps: int
    validation: Split


def choose_rows(dataset: Dataset, batch_size: int, steps: int, seconds: float | None = None) -> Rows:
    """A row after every epoch, or after a part of a long one, or after some short ones.

    Args:
        dataset: what is trained on.
        batch_size: images a step.
        steps: of the whole training, as planned.
        seconds: that they will take; None where rows must not depend on the computer.
    """
    # Twice the least, because rows are merged in whole numbers.
    most = MOST if seconds is None else int(min(MOST, max(2 * LEAST, seconds / SPACING)))
    epoch = max(1, len(dataset.train) // batch_size)
    between = max(1, min(epoch, steps // LEAST))
    if steps > most * between:
        between *= -(-steps // (most * between))
    return Rows(between, _validation(dataset, between * batch_size))


def _validation(dataset: Dataset, images: int) -> Split:
    """The validation images for rows that are so many training images apart.

    A forward pass costs a third of a training step.
    """
    affordable = max(VALIDATION_LEAST, int(3 * VALIDATION_SHARE * images))
    if affordable >= len(dataset.val):
        return dataset.val
    return dataset.val.subset(np.linspace(0, len(dataset.val) - 1, affordable).astype(int))
