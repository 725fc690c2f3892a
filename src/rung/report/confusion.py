"""The confusion matrix as a picture, and the pairs of classes that are confused most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.evaluation.result import Evaluation

WHOLE = 30  # up to this many classes the whole matrix is shown
PART = 24  # classes shown of a larger one
TRIPLES = 20_000  # confused pairs that the page's script knows, at most


@dataclass(frozen=True)
class Cell:
    """``count`` images of class ``true`` were predicted as ``said``; ``strength`` (0 to 1) is how dark it is drawn."""

    true: int
    said: int
    count: int
    strength: float


@dataclass(frozen=True)
class Row:
    """The images of one class, ``support`` of them, by what was predicted."""

    true: int
    name: str
    support: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Picture:
    """The matrix, or the part of it where most confusion is: ``columns`` are the class numbers shown.

    ``short`` says that every name shown is short enough to stand upright over its column.
    """

    rows: tuple[Row, ...]
    columns: tuple[int, ...]
    complete: bool
    short: bool


@dataclass(frozen=True)
class Pair:
    """Images of class ``true`` taken for ``said``: how many, and which share of that class."""

    true: int
    said: int
    true_name: str
    said_name: str
    count: int
    share: float


def picture(evaluation: Evaluation) -> Picture:
    """Lay out the matrix. Beyond ``WHOLE`` classes: those of the most confused pairs, the related ones side by side."""
    matrix = np.asarray(evaluation.confusion_matrix, dtype=np.int64)
    support = matrix.sum(1)
    complete = len(matrix) <= WHOLE
    shown = list(range(len(matrix))) if complete else _most_confused(matrix)
    share = matrix / np.maximum(support, 1)[:, None]
    part = share[np.ix_(shown, shown)]
    worst = float((part - np.diag(np.diag(part))).max()) or 1.0
    # A power below 1 lets a confusion of 1 % be seen beside one of 20 %.
    strength = ((share / worst) ** 0.65).clip(0, 1)
    np.fill_diagonal(strength, np.diag(share))
    return Picture(
        rows=tuple(
            Row(
                true,
                evaluation.classes[true],
                int(support[true]),
                tuple(
                    Cell(true, said, int(matrix[true, said]), round(float(strength[true, said]), 2)) for said in shown
                ),
            )
            for true in shown
        ),
        columns=tuple(shown),
        complete=complete,
        short=all(len(evaluation.classes[k]) <= 2 for k in shown),
    )


def pairs(evaluation: Evaluation, chosen: list[list[int]]) -> tuple[Pair, ...]:
    """Some of :func:`triples`, with the names of their classes."""
    names = evaluation.classes
    support = [max(row.support, 1) for row in evaluation.per_class]
    return tuple(
        Pair(true, said, names[true], names[said], count, count / support[true]) for true, said, count in chosen
    )


def triples(evaluation: Evaluation, most: int = TRIPLES) -> list[list[int]]:
    """(true class, predicted class, images) of every pair that was confused, the most frequent first."""
    matrix = np.array(evaluation.confusion_matrix, dtype=np.int64)
    np.fill_diagonal(matrix, 0)
    true, said = matrix.nonzero()
    counts = matrix[true, said]
    order = np.argsort(-counts, kind="stable")[:most]
    found: list[list[int]] = np.stack([true, said, counts], 1)[order].tolist()
    return found


def _most_confused(matrix: npt.NDArray[np.int64]) -> list[int]:
    """``PART`` classes of the strongest confusions, in an order that keeps confused ones together."""
    both = matrix + matrix.T
    np.fill_diagonal(both, 0)
    upper = np.triu(both)
    chosen: list[int] = []
    for place in np.argsort(-upper, axis=None, kind="stable"):
        chosen += [k for k in divmod(int(place), len(matrix)) if k not in chosen]
        if len(chosen) >= PART:
            break
    order = [chosen.pop(0)]
    while chosen:
        nearest = max(chosen, key=lambda k: int(both[order[-1], k]))
        chosen.remove(nearest)
        order.append(nearest)
    return order[:PART]
