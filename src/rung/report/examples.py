"""Which test images a report shows: a fair sample, the telling mistakes, and some for every confused pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.runs import Run

Integers = npt.NDArray[np.int64]
MOSAIC = 48  # images of the sample at the top
GALLERY = 24  # images of each gallery
A_CELL = 24  # images kept for one confused pair, at most
A_CLASS = 12  # images kept of one class's right answers
ROWS = 4096  # of probabilities copied at a time


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about N test images. Every array has shape (N,).

    Attributes:
        indices: position of the image in the test split.
        labels, predicted: the true class and the most probable one.
        confidence: probability of the predicted class, 0 to 1.
        truth: probability of the true class, 0 to 1.
        second: the second most probable class.
        second_confidence: its probability, 0 to 1.
    """

    indices: Integers
    labels: Integers
    predicted: Integers
    confidence: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]
    second: Integers
    second_confidence: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        return np.not_equal(self.labels, self.predicted)

    @classmethod
    def read(cls, run: Run) -> Predictions:
        """Those of a run.

        Raises:
            RunError: the run has no predictions.
        """
        table = run.predictions.combine_chunks()
        count = table.num_rows
        flat = table.column("probabilities").combine_chunks().flatten()
        probabilities = flat.to_numpy(zero_copy_only=False).reshape(count, -1)
        indices, labels, predicted = (
            table.column(name).to_numpy().astype(np.int64) for name in ("index", "label", "prediction")
        )
        every = np.arange(count)
        confidence, truth = probabilities[every, predicted], probabilities[every, labels]
        second = np.empty(count, np.int64)
        for start in range(0, count, ROWS):
            block = probabilities[start : start + ROWS].copy()
            block[np.arange(len(block)), predicted[start : start + ROWS]] = -1.0
            second[start : start + ROWS] = block.argmax(1)
        return cls(indices, labels, predicted, confidence, truth, second, probabilities[every, second])


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows of :class:`Predictions` to show.

    Attributes:
        rows: all of them, each once, the ones that matter most first; what follows are places in it.
        mosaic: a fair sample.
        confident: the mistakes that the model was surest of, the surest first.
        uncertain: the answers that it was least sure of, the least sure first.
        cells: for (true class, predicted class) some images; mistakes surest first, right answers spread
            evenly from the surest to the least sure.
    """

    rows: Integers
    mosaic: tuple[int, ...]
    confident: tuple[int, ...]
    uncertain: tuple[int, ...]
    cells: dict[tuple[int, int], tuple[int, ...]]

    def first(self, count: int) -> Examples:
        """The examples that remain when only the first ``count`` rows can be shown."""

        def kept(places: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(place for place in places if place < count)

        cells = {pair: kept(places) for pair, places in self.cells.items()}
        return Examples(
            self.rows[:count],
            kept(self.mosaic),
            kept(self.confident),
            kept(self.uncertain),
            {pair: places for pair, places in cells.items() if places},
        )


def choose(predictions: Predictions, room: int) -> Examples:
    """Pick ``room`` images at most; the same predictions give the same images.

    The galleries come first. What room remains goes round the pairs of classes: one image for each, a
    second for each that has two, and so on, so a rare confusion is not crowded out by a common one.
    """
    mosaic = np.sort(np.random.default_rng(0).permutation(len(predictions))[:MOSAIC])
    mistakes = np.flatnonzero(predictions.wrong)
    confident = mistakes[np.argsort(-predictions.confidence[mistakes], kind="stable")][:GALLERY]
    uncertain = np.argsort(predictions.confidence, kind="stable")[:GALLERY]
    pairs, ranks, members = _cells(predictions)
    rounds = members[np.argsort(ranks, kind="stable")]

    order = np.concatenate([mosaic, confident, uncertain, rounds])
    _, first = np.unique(order, return_index=True)
    rows = order[np.sort(first)][:room]

    place = np.full(len(predictions), -1)
    place[rows] = np.arange(len(rows))
    cells: dict[tuple[int, int], list[int]] = {}
    for (true, said), member in zip(pairs.tolist(), place[members].tolist(), strict=True):
        if member >= 0:
            cells.setdefault((true, said), []).append(member)

    def places(chosen: Integers) -> tuple[int, ...]:
        return tuple(number for number in place[chosen].tolist() if number >= 0)

    return Examples(
        rows,
        places(mosaic),
        places(confident),
        places(uncertain),
        {pair: tuple(numbers) for pair, numbers in cells.items()},
    )


def _cells(predictions: Predictions) -> tuple[Integers, Integers, Integers]:
    """The images kept for every pair: their (true, predicted) shape (n, 2), rank in their pair, and row.

    Sorted by the size of the pair, largest confusion first and right answers last, then by rank.
    """
    order = np.lexsort((-predictions.confidence, predictions.predicted, predictions.labels))
    true, said = predictions.labels[order], predictions.predicted[order]
    starts = np.flatnonzero(np.r_[True, (true[1:] != true[:-1]) | (said[1:] != said[:-1])])
    sizes = np.diff(np.r_[starts, len(order)])
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    right = true == said
    # Of the right answers every (size / A_CLASS)-th: their rank times A_CLASS passes a multiple of size.
    spread = (rank * A_CLASS) // size != ((rank - 1) * A_CLASS) // size
    kept = np.where(right, spread, rank < A_CELL)
    rank = np.where(right, rank * np.minimum(A_CLASS, size) // size, rank)
    order, true, said, rank, size, right = (a[kept] for a in (order, true, said, rank, size, right))
    by_pair = np.lexsort((rank, said, true, -size, right))
    return np.stack([true, said], 1)[by_pair], rank[by_pair], order[by_pair]
