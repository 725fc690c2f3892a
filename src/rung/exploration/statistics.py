"""Pixels by split and channel, and the mean image of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Dataset, Split

BYTES = 2**28
"""Pixels looked at of each split, at most; a random sample of its images where it has more."""

BINS = 32
_AT_ONCE = 2**24  # bytes of images in memory


@dataclass(frozen=True)
class PixelStatistics:
    """The pixels of one split.

    Attributes:
        mean, std: of each channel, in grey levels from 0 to 255.
        histogram: of each channel, the shares of pixels in 32 equal ranges of grey levels.
        images: how many images they come from.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    histogram: tuple[tuple[float, ...], ...]
    images: int


def class_counts(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """Images of each class, by split."""
    classes = len(dataset.classes)
    return {split.name: tuple(np.bincount(split.labels, minlength=classes).tolist()) for split in dataset.splits}


def pixel_statistics(split: Split, seed: int = 0) -> PixelStatistics:
    """Statistics of a split's pixels."""
    channels = split.images.shape[3]
    counts = np.zeros((channels, 256), np.int64)
    chosen = _sample(split, seed)
    for places in _pieces(split, chosen):
        images = split.take(places)
        for channel in range(channels):
            counts[channel] += np.bincount(images[..., channel].ravel(), minlength=256)
    shares = counts / counts.sum(1, keepdims=True)
    levels = np.arange(256)
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]) ** 2).sum(1)
    return PixelStatistics(
        tuple(mean.tolist()),
        tuple(np.sqrt(variance).tolist()),
        tuple(tuple(row) for row in shares.reshape(channels, BINS, -1).sum(2).tolist()),
        len(chosen),
    )


def mean_images(split: Split, classes: Sequence[int], seed: int = 0) -> npt.NDArray[np.uint8]:
    """The mean image of each of ``classes``: uint8 (n, H, W, C); grey where a class has no image."""
    chosen = _sample(split, seed)
    chosen = chosen[np.isin(split.labels[chosen], classes)]
    sums = np.zeros((len(classes), *split.images.shape[1:]), np.float64)
    counts = np.zeros(len(classes), np.int64)
    place = {label: number for number, label in enumerate(classes)}
    for places in _pieces(split, chosen):
        images, labels = split.take(places), split.labels[places]
        for label in np.unique(labels).tolist():
            mine = images[labels == label]
            sums[place[label]] += mine.sum(0, dtype=np.uint32)
            counts[place[label]] += len(mine)
    means = sums / np.maximum(counts, 1)[:, None, None, None]
    means[counts == 0] = 128
    return means.round().astype(np.uint8)


def _sample(split: Split, seed: int) -> npt.NDArray[np.int64]:
    most = max(1, BYTES // int(np.prod(split.images.shape[1:])))
    if len(split) <= most:
        return np.arange(len(split))
    return np.sort(np.random.default_rng(seed).permutation(len(split))[:most])


def _pieces(split: Split, chosen: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    size = max(1, _AT_ONCE // int(np.prod(split.images.shape[1:])))
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]
