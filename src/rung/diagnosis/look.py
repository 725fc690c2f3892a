"""What simple measurements say about images and labels, in seconds and without a network.

The measurements are here, gathered once; what they mean is decided by the kinds in ``kinds/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Dataset, Images, Labels, Split
from rung.evaluation.intervals import wilson
from rung.seeds import check_seed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Images that a measurement looks at, at most.
SAMPLE = 2000
# Larger images are brought down to about this side, in whole blocks, before pixels are compared.
SIDE = 32
NEIGHBOURS = 5
BINS = 16
_STREAM = 12


@dataclass(frozen=True)
class Pixels:
    """The values of the pixels of a split, of a sample of its images.

    Attributes:
        least, most: over all pixels.
        levels: how many of the 256 values occur.
        mean: of each channel.
        deviation: of each channel.
    """

    least: int
    most: int
    levels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True)
class Hint:
    """How well a part of the image alone tells the class, on images that were not learnt from.

    Attributes:
        where: the part, in words.
        box: top, left, bottom, right of the part in pixels; bottom and right are not in it.
        accuracy, interval: 0 to 1, with its 95 % interval.
        elsewhere: accuracy of the best part of the same kind that is not at the border of the image, or, of pixels, not
            near this one.
        chance: accuracy of always giving the commonest class.
        images: how many were looked at.
    """

    where: str
    box: tuple[int, int, int, int]
    accuracy: float
    interval: tuple[float, float]
    elsewhere: float
    chance: float
    images: int


@dataclass(frozen=True)
class TwoSamples:
    """How well a simple classifier tells which of two splits an image is from; 0.5 where they are alike.

    Attributes:
        accuracy, interval: on images that were not learnt from, and its 95 % interval.
        differs: what differs most between the two, in words, with its mean in each.
        images: how many of each split were looked at.
    """

    accuracy: float
    interval: tuple[float, float]
    differs: tuple[str, float, float]
    images: int


@dataclass(frozen=True, eq=False)
class DataLook:
    """What was measured.

    Attributes:
        pixels: of each split, by its name.
        inverted: distance between the pixel values of the training and the test split (mean difference of their
            distribution functions, 0 to 1), as they are and with one of the two inverted.
        counts: training images of each class, and validation images with them.
        hints: parts of the image that may tell the class, the most telling of each kind.
        shift: training against test images; None where there are too few.
    """

    pixels: dict[str, Pixels]
    inverted: tuple[float, float] = (0.0, 1.0)
    counts: tuple[int, ...] = ()
    hints: tuple[Hint, ...] = ()
    shift: TwoSamples | None = None
    sizes: dict[str, int] = field(default_factory=dict)


def look_at(dataset: Dataset, seed: int = 0) -> DataLook:
    """Measure everything that needs no network; a few seconds on a few thousand images, whatever their number.

    Args:
        dataset: the images; of the test split only the pixels are looked at.
        seed: of the samples.

    Raises:
        UsageError: ``seed`` is out of its range.
    """
    check_seed(seed)
    random = np.random.default_rng((seed, _STREAM))
    samples = {split.name: _sample(split, random) for split in dataset.splits if len(split)}
    labels = np.concatenate([dataset.train.labels, dataset.val.labels])
    train, test = (samples[name] for name in ("train", "test"))
    chosen, train_images = train
    return DataLook(
        pixels={name: pixel_values(images) for name, (_, images) in samples.items()},
        inverted=_distances(train_images, test[1]),
        counts=tuple(np.bincount(labels, minlength=len(dataset.classes)).tolist()),
        hints=find_hints(train_images, dataset.train.labels[chosen]),
        shift=two_samples(train_images, test[1], seed),
        sizes={split.name: len(split) for split in dataset.splits},
    )


def _sample(split: Split, random: np.random.Generator) -> tuple[Ints, Images]:
    chosen = np.sort(random.permutation(len(split))[:SAMPLE])
    pieces = [reduced(split.take(chosen[start : start + 128])) for start in range(0, len(chosen), 128)]
    return chosen, np.concatenate(pieces)


def reduced(images: Images) -> Images:
    """Every n-th pixel of larger images, so that about ``SIDE`` a side remain: values are not mixed."""
    rows, columns = (max(1, side // SIDE) for side in images.shape[1:3])
    return images[:, ::rows, ::columns]


def pixel_values(images: Images) -> Pixels:
    """The values in some images, uint8 (N, H, W, C)."""
    counts = np.bincount(images.reshape(-1), minlength=256)
    used = np.flatnonzero(counts)
    return Pixels(
        int(used[0]),
        int(used[-1]),
        len(used),
        tuple(images.mean((0, 1, 2), dtype=np.float64).tolist()),
        tuple(images.std((0, 1, 2), dtype=np.float64).tolist()),
    )


def _distances(train: Images, test: Images) -> tuple[float, float]:
    """How far apart the pixel values of two splits are, as they are and with one of them inverted: 0 to 1."""

    def shares(images: Images) -> Floats:
        counts = np.bincount(images.reshape(-1), minlength=256)
        return np.asarray(np.cumsum(counts) / counts.sum(), np.float64)

    first = shares(train)
    return (
        float(np.abs(first - shares(test)).mean()),
        float(np.abs(first - shares(255 - test)).mean()),
    )


# --- parts of the image that tell the class ---------------------------------------------------------------------------


def find_hints(images: Images, labels: Labels) -> tuple[Hint, ...]:
    """The most telling frame, patch at the border, and single pixel.

    Photographs tell their class in the middle rather than at the border, and neighbouring pixels tell about the same;
    a frame, a stamp in a corner or a marked pixel is different (Lapuschkin et al. 2019; Geirhos et al. 2020).

    Args:
        images: uint8 (N, H, W, C).
        labels: int64 (N,).
    """
    if len(labels) < 100 or len(np.unique(labels)) < 2 or min(images.shape[1:3]) < 6:
        return ()
    chance = float(np.bincount(labels).max() / len(labels))
    frames, patches = _frames(images), _patches(images)
    found = [
        _compare("the frame of the image", frames[:1], frames[1:], images, labels, chance),
        _compare(
            "a patch at the border",
            [patch for patch in patches if _at_border(patch, images)],
            [patch for patch in patches if not _at_border(patch, images)],
            images,
            labels,
            chance,
        ),
        _best_pixel(images, labels, chance),
    ]
    return tuple(found)


Part = tuple[tuple[int, int, int, int], npt.NDArray[np.bool_]]


def _frames(images: Images) -> list[Part]:
    """Frames of equal thickness, from the border inwards, down to where a third of the side is left."""
    height, width = images.shape[1:3]
    thick = max(1, min(height, width) // 16)
    found: list[Part] = []
    for depth in range(0, min(height, width) // 3, thick):
        mask = np.zeros((height, width), bool)
        mask[depth : height - depth, depth : width - depth] = True
        mask[depth + thick : height - depth - thick, depth + thick : width - depth - thick] = False
        found.append(((depth, depth, height - depth, width - depth), mask))
    return found


def _patches(images: Images) -> list[Part]:
    """The sixteen fields of a 4×4 grid."""
    height, width = images.shape[1:3]
    rows, columns = ([side * k // 4 for k in range(5)] for side in (height, width))
    found: list[Part] = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            mask = np.zeros((height, width), bool)
            mask[top:bottom, left:right] = True
            found.append(((top, left, bottom, right), mask))
    return found


def _at_border(part: Part, images: Images) -> bool:
    top, left, bottom, right = part[0]
    return top == 0 or left == 0 or bottom == images.shape[1] or right == images.shape[2]


def _compare(
    where: str, outer: Sequence[Part], inner: Sequence[Part], images: Images, labels: Labels, chance: float
) -> Hint:
    best = max(((_by_neighbours(images, mask, labels), box) for box, mask in outer), key=lambda pair: pair[0])
    elsewhere = max((_by_neighbours(images, mask, labels) for _, mask in inner), default=1.0)
    count = len(labels)
    return Hint(where, best[1], best[0], wilson(round(best[0] * count), count), elsewhere, chance, count)


def _by_neighbours(images: Images, mask: npt.NDArray[np.bool_], labels: Labels) -> float:
    """Accuracy of the five nearest neighbours' vote on a part of the image, each image left out in turn."""
    pixels = images[:, mask].reshape(len(images), -1).astype(np.float32)
    squares = (pixels * pixels).sum(1)
    classes = int(labels.max()) + 1
    correct = 0
    for start in range(0, len(pixels), 500):
        block = slice(start, start + 500)
        distances = squares[None] - 2 * pixels[block] @ pixels.T
        distances[np.arange(len(distances)), np.arange(start, start + len(distances))] = np.inf
        nearest = np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        votes = np.zeros((len(nearest), classes))
        np.add.at(votes, (np.arange(len(nearest))[:, None], labels[nearest]), 1)
        correct += int((votes.argmax(1) == labels[block]).sum())
    return correct / len(pixels)


def _best_pixel(images: Images, labels: Labels, chance: float) -> Hint:
    """The pixel whose value alone tells the class best: the commonest class of each range of values.

    Learnt on one half of the images and measured on the other, and the other way round.
    """
    count, height, width, channels = images.shape
    classes = int(labels.max()) + 1
    places = height * width * channels
    values = images.reshape(count, places) // (256 // BINS)
    half = np.random.default_rng(0).permutation(count) % 2 == 0
    correct = np.zeros(places)
    for learn in (half, ~half):
        answer = _commonest(values[learn], labels[learn], classes)
        said = answer[np.arange(places)[None], values[~learn]]
        correct += (said == labels[~learn][:, None]).sum(0)
    accuracy = (correct / count).reshape(height, width, channels).max(2)
    top, left = (int(place) for place in np.unravel_index(accuracy.argmax(), accuracy.shape))
    distance = np.maximum(np.abs(np.arange(height)[:, None] - top), np.abs(np.arange(width)[None] - left))
    apart = distance > max(1, min(height, width) // 8)
    best = float(accuracy[top, left])
    elsewhere = float(accuracy[apart].max()) if apart.any() else 1.0
    box = (top, left, top + 1, left + 1)
    return Hint("a single pixel", box, best, wilson(round(best * count), count), elsewhere, chance, count)


def _commonest(values: npt.NDArray[np.uint8], labels: Labels, classes: int) -> Ints:
    """int64 (places, BINS): the class that most images with that value at that place have."""
    places = values.shape[1]
    best = np.empty((places, BINS), np.int64)
    for start in range(0, places, 256):
        part = values[:, start : start + 256].astype(np.int64)
        cells = (np.arange(part.shape[1])[None] * BINS + part) * classes + labels[:, None]
        table = np.bincount(cells.reshape(-1), minlength=part.shape[1] * BINS * classes)
        best[start : start + 256] = table.reshape(part.shape[1], BINS, classes).argmax(2)
    return best


# --- two splits -------------------------------------------------------------------------------------------------------

FOLDS = 5
_FIGURES = ("brightness", "contrast", "sharpness", "darkest tenth", "brightest tenth", "colourfulness")


def two_samples(first: Images, second: Images, seed: int = 0) -> TwoSamples | None:
    """The classifier two-sample test: a classifier that does better than a coin tells the two apart.

    Ridge regression on the image in 8×8 blocks, on its brightness, contrast, sharpness and the like, and on their
    squares, five-fold; as many images of each.

    Reference:
        Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017.
    """
    count = min(len(first), len(second))
    if count < 50:
        return None
    random = np.random.default_rng((seed, _STREAM, 2))
    parts = [images[random.permutation(len(images))[:count]] for images in (first, second)]
    figures = np.concatenate([_figures(images) for images in parts])
    blocks = np.concatenate([_blocks(images) for images in parts])
    inputs = np.hstack([figures, blocks])
    inputs = (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-9)
    inputs = np.hstack([inputs, inputs[:, : figures.shape[1]] ** 2, np.ones((2 * count, 1))])
    targets = np.repeat([-1.0, 1.0], count)
    fold = random.permutation(2 * count) % FOLDS
    correct = 0
    for k in range(FOLDS):
        learn = fold != k
        correct += int((np.sign(inputs[~learn] @ _ridge(inputs[learn], targets[learn])) == targets[~learn]).sum())
    means = np.stack([_figures(images).mean(0) for images in parts])
    spread = np.maximum(figures.std(0), 1e-9)
    most = int((np.abs(means[1] - means[0]) / spread).argmax())
    return TwoSamples(
        correct / (2 * count),
        wilson(correct, 2 * count),
        (_FIGURES[most], float(means[0, most]), float(means[1, most])),
        count,
    )


def _figures(images: Images) -> Floats:
    """(N, 6): what ``_FIGURES`` names, in grey levels."""
    values = images.astype(np.float32)
    grey = values.mean(3)
    flat = grey.reshape(len(grey), -1)
    low, high = np.percentile(flat, (10, 90), axis=1)
    edges = np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
    colour = values.std(3).mean((1, 2))
    return np.stack([flat.mean(1), flat.std(1), edges, low, high, colour], 1).astype(np.float64)


def _blocks(images: Images, side: int = 8) -> Floats:
    """(N, blocks): the mean of every channel in about 8×8 blocks."""
    count, height, width, channels = images.shape
    rows, columns = max(1, height // side), max(1, width // side)
    cut = images[:, : height // rows * rows, : width // columns * columns].astype(np.float32)
    shape = (count, cut.shape[1] // rows, rows, cut.shape[2] // columns, columns, channels)
    return np.asarray(cut.reshape(shape).mean((2, 4)).reshape(count, -1), np.float64)


def _ridge(inputs: Floats, targets: Floats) -> Floats:
    gram = inputs.T @ inputs
    gram[np.diag_indices_from(gram)] += 0.1 * len(inputs)
    return np.asarray(np.linalg.solve(gram, inputs.T @ targets), np.float64)
