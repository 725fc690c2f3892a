"""A linear look at the data, in a fraction of a second: how hard it is, and whether mirror images are safe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Split

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Probe:
    """What a linear classifier makes of a small sample of the training images.

    ``accuracy`` is measured on images that it has not seen, ``mirrored_accuracy`` on the same images
    mirrored left to right, and ``images`` is their number.
    """

    accuracy: float
    mirrored_accuracy: float
    images: int

    @property
    def mirroring_is_safe(self) -> bool:
        """Whether mirror images still show their class.

        A photograph of a dog still is one when it is mirrored, a 2 or a left arrow is not. The linear
        classifier's accuracy on mirror images must not drop by more than a tenth, or by more than what
        two standard errors of the difference explain.
        """
        drop = self.accuracy - self.mirrored_accuracy
        noise = 2 * (2 * max(self.accuracy * (1 - self.accuracy), 1e-4) / self.images) ** 0.5
        return bool(drop <= max(0.1 * self.accuracy, noise))


def probe(split: Split, classes: int, seed: int, sample: int = 2000) -> Probe:
    """Fit ridge regression to one-hot labels on half of a sample of ``split``, and test it on the other half.

    Args:
        split: the training split.
        classes: number of classes.
        seed: of the sample.
        sample: images to look at, at most.
    """
    chosen = np.sort(np.random.default_rng((seed, 9)).permutation(len(split))[:sample])
    labels = split.labels[chosen]
    pixels, mirrored = _both_sides(split, chosen)
    learn = np.arange(len(chosen)) % 2 == 0
    if learn.all():
        return Probe(1 / classes, 1 / classes, 1)
    mean = pixels[learn].mean(0)
    scale = pixels[learn].std() + 1e-6
    weights = _ridge((pixels[learn] - mean) / scale, np.eye(classes)[labels[learn]])

    def accuracy(values: Floats) -> float:
        return float((((values[~learn] - mean) / scale @ weights).argmax(1) == labels[~learn]).mean())

    return Probe(accuracy(pixels), accuracy(mirrored), int((~learn).sum()))


def _both_sides(split: Split, chosen: npt.NDArray[np.int64], piece: int = 128) -> tuple[Floats, Floats]:
    """The chosen images, shrunk, as they are and mirrored; a few at a time, because photographs are large."""
    pixels, mirrored = [], []
    for start in range(0, len(chosen), piece):
        images = split.take(chosen[start : start + piece])
        pixels.append(_shrunk(images))
        mirrored.append(_shrunk(images[:, :, ::-1]))
    return np.concatenate(pixels), np.concatenate(mirrored)


def _shrunk(images: npt.NDArray[np.uint8], side: int = 8) -> Floats:
    """Images of at most about ``side`` pixels a side by averaging blocks, flattened, with a constant column."""
    count, height, width, _ = images.shape
    rows, columns = max(1, height // side), max(1, width // side)
    images = images[:, : height // rows * rows, : width // columns * columns]
    # Summing whole slices is many times as fast as averaging over two short axes of a small view.
    narrow = images[:, ::rows].astype(np.float32)
    for row in range(1, rows):
        narrow += images[:, row::rows]
    small = narrow[:, :, ::columns].astype(np.float64)
    for column in range(1, columns):
        small += narrow[:, :, column::columns]
    flat = small.reshape(count, -1) / (rows * columns)
    return np.hstack([flat, np.full((count, 1), 255.0)])


def _ridge(inputs: Floats, targets: Floats) -> Floats:
    """Weights that minimise the squared error plus a penalty of a tenth of the inputs' mean variance."""
    gram = np.asarray(inputs.T @ inputs, np.float64)
    gram[np.diag_indices_from(gram)] += 0.1 * np.trace(gram) / len(gram) + 1e-6
    return np.asarray(np.linalg.solve(gram, inputs.T @ targets), np.float64)
