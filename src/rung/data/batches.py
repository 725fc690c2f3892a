"""Training batches: which images, in which order, and how they are varied.

Every random choice is a function of the seed and of the step alone, never of what was drawn before. So a
run that is resumed at step *s* sees exactly the batches that an uninterrupted one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rung.data.dataset import Split

_ORDER, _FLIP, _STEP = 1, 2, 3


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied.

    Attributes:
        flip: mirror left and right. Each image is mirrored in every second epoch, starting at random, so
            that two epochs show each of its two sides once (Jordan 2024, arXiv:2404.00498, section 3.6).
        translate: largest shift in pixels, drawn uniformly and independently for each axis; the border is
            filled by reflection.
        cutout: side in pixels of a square that is replaced by the mean colour, 0 for none (DeVries and
            Taylor 2017, arXiv:1708.04552).
    """

    flip: bool = True
    translate: int = 2
    cutout: int = 0


def _generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng((seed, purpose, number))


class Batches:
    """The batches of a split, by step number.

    Args:
        split: where the images come from.
        batch_size: images a step; at most ``len(split)`` are used.
        augmentation: how they are varied.
        seed: what every order and every variation derives from.

    An epoch has ``len(split) // batch_size`` steps; the images left over are different ones each epoch.
    """

    def __init__(self, split: Split, batch_size: int, augmentation: Augmentation, seed: int) -> None:
        self.split = split
        self.batch_size = min(batch_size, len(split))
        self.augmentation = augmentation
        self.seed = seed
        self.steps_per_epoch = max(1, len(split) // self.batch_size)
        self._first_flip = _generator(seed, _FLIP, 0).random(len(split)) < 0.5
        self._labels = torch.from_numpy(split.labels)
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def positions(self, step: int) -> np.ndarray:
        """Which images of the split the batch of this step holds: int64, shape (batch_size,)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = _generator(self.seed, _ORDER, epoch).permutation(len(self.split))
        # Sorted, so that the memory map is read from front to back; the order inside a batch means nothing.
        return np.sort(self._order[place * self.batch_size : (place + 1) * self.batch_size])

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: uint8 images (N, H, W, C) and int64 labels (N,)."""
        chosen = self.positions(step)
        images = self.split.take(chosen)
        random = _generator(self.seed, _STEP, step)
        flipped = self._first_flip[chosen] ^ bool(step // self.steps_per_epoch % 2)
        return torch.from_numpy(augment(images, self.augmentation, flipped, random)), self._labels[chosen]


def augment(
    images: np.ndarray, augmentation: Augmentation, flipped: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """A varied copy of ``images``, uint8 (N, H, W, C).

    Args:
        images: what to vary; not changed.
        augmentation: how.
        flipped: bool (N,): which images to mirror if ``augmentation.flip``.
        random: draws the shifts and the places of the squares.
    """
    count, height, width, channels = images.shape
    reach = augmentation.translate
    side = min(augmentation.cutout, height, width)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "reflect") if reach else images
    tops, lefts = random.integers(0, 2 * reach + 1, (2, count)).tolist()
    mirrored = (flipped & augmentation.flip).tolist()
    varied = np.empty((count, height, width, channels), np.uint8)
    # A loop over images that copies whole rows is three times as fast as one gather over all pixels.
    for target, image, top, left, mirror in zip(varied, padded, tops, lefts, mirrored, strict=True):
        window = image[top : top + height, left : left + width]
        target[...] = window[:, ::-1] if mirror else window
    if side:
        mean = images.mean((0, 1, 2)).round().astype(np.uint8)
        corners = random.integers(0, (height - side + 1, width - side + 1), (count, 2)).tolist()
        for target, (top, left) in zip(varied, corners, strict=True):
            target[top : top + side, left : left + side] = mean
    return varied
