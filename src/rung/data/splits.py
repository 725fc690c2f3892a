"""Cutting a test and a validation split, so that every class is in all of them.

Both cuts depend on the labels and the seed alone: the same data and seed give the same splits on every
computer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Labels
from rung.data.labels import few
from rung.errors import DataError

Rows = npt.NDArray[np.int64]

VAL_FRACTION = 0.1
VAL_MOST = 2500

# Different random streams for the two cuts of one seed.
_STREAMS = {"test": 1, "val": 2}


def check_classes(counts: Sequence[int], classes: Sequence[str], where: str, cuts: int) -> None:
    """Refuse data that no classifier can be trained and judged on.

    Args:
        counts: training images of each class.
        classes: their names.
        where: the data, for the message.
        cuts: how many splits are still to be cut from the training images: 0 to 2.

    Raises:
        DataError: fewer than two classes, or a class with fewer than ``cuts + 1`` images.
    """
    if len(classes) < 2:
        only = f"one class only ({classes[0]})" if classes else "no images"
        raise DataError(f"{where} has {only}; a classifier needs at least two classes with images")
    needed = max(1, cuts + 1)
    small = [f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if count < needed]
    if small:
        purpose = {0: "training", 1: "training and validation", 2: "training, validation and test"}[cuts]
        raise DataError(
            f"{where} has too few images of {few(small)}: each class needs at least {needed}, for {purpose}; "
            "add images or leave these classes out"
        )


def val_size(images: int, fraction: float | None) -> int:
    """How many of ``images`` training images become the validation split.

    ``fraction`` of them; by default 10 %, at most 2,500.
    """
    return round(images * fraction) if fraction is not None else min(round(images * VAL_FRACTION), VAL_MOST)


def cut(labels: Labels, size: int, seed: int, purpose: str) -> tuple[Rows, Rows]:
    """Choose ``size`` positions, each class in proportion, and return (the others, the chosen), both sorted.

    Every class gives at least one image where it has two, and keeps at least one, so ``size`` can be missed
    where there are many small classes.

    Args:
        labels: int64 (N,).
        size: how many to choose, 0 to N.
        seed: the same seed chooses the same images.
        purpose: ``"test"`` or ``"val"``; the two cuts of one seed are independent.
    """
    distinct, counts = np.unique(labels, return_counts=True)
    quotas = allot(counts, size)
    random = np.random.default_rng([seed, _STREAMS[purpose]])
    order = np.argsort(labels, kind="stable")
    chosen: list[Rows] = []
    start = 0
    for count, quota in zip(counts.tolist(), quotas.tolist(), strict=True):
        members = order[start : start + count]
        chosen.append(random.permutation(members)[:quota])
        start += count
    taken = np.zeros(len(labels), bool)
    taken[np.concatenate(chosen) if len(distinct) else np.empty(0, np.int64)] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def allot(counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Share ``size`` among classes in proportion to ``counts``, within 1 and ``count - 1`` for each.

    The largest remainders round up, ties go to the earlier class.
    """
    least, most = np.minimum(1, np.maximum(counts - 1, 0)), np.maximum(counts - 1, 0)
    exact = counts * (size / max(1, int(counts.sum())))
    quotas: Rows = np.clip(np.floor(exact).astype(np.int64), least, most)
    missing = size - int(quotas.sum())
    step = 1 if missing > 0 else -1
    while missing:
        able = quotas < most if step > 0 else quotas > least
        if not able.any():
            break
        order = np.argsort(-(exact - quotas) * step, kind="stable")
        turn = order[able[order]][: abs(missing)]
        quotas[turn] += step
        missing -= step * len(turn)
    return quotas
