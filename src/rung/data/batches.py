"""Training batches: which images, in which order, and how they are varied.

Every random choice is a function of the seed and of the step alone, never of what was drawn before. So a
run that is resumed at step *s* sees exactly the batches that an uninterrupted one would have seen. A GPU varies images
that it keeps itself, by choices that are made here, so it sees the same batches as a processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.data.dataset import Split

_ORDER, _FLIP, _STEP = 1, 2, 3
# Share of a GPU's free memory that the images of a split may take to stay there.
RESIDENT_SHARE = 0.25
# Bytes of images that are brought to a GPU at a time.
_PIECE = 64 * 2**20


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied.

    Attributes:
        flip: mirror left and right. Each image is mirrored in every second pass, starting at random, so
            that two passes show each of its two sides once (Jordan 2024, arXiv:2404.00498, section 3.6).
        translate: largest shift in pixels, drawn uniformly and independently for each axis; the border is
            filled by reflection.
        cutout: side in pixels of a square that is replaced by the mean colour, 0 for none (DeVries and
            Taylor 2017, arXiv:1708.04552).
    """

    flip: bool = True
    translate: int = 2
    cutout: int = 0


@dataclass(frozen=True, eq=False)
class Passes:
    """Passes over images of a split, one after the other.

    Attributes:
        number: of the first of them, among all passes of the training.
        first_step: with which it begins.
        images: their places in the split, int64, or None for all.
    """

    number: int = 0
    first_step: int = 0
    images: npt.NDArray[np.int64] | None = None


def _generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng((seed, purpose, number))


class Batches:
    """The batches of a split, by step number.

    Args:
        split: where the images come from.
        batch_size: images a step; at most ``len(split)`` are used.
        augmentation: how they are varied.
        seed: what every order and every variation derives from.

    An epoch has ``len(split) // batch_size`` steps; the images left over are different ones each epoch. Where
    :attr:`passes` are over some of the images, a pass is shorter than an epoch; the attribute may be changed with the
    first step of a pass.

    A batch is made in two parts, so that the second can be done by a GPU, and recorded there: :meth:`prepare`, which
    chooses, and :meth:`finish`, which does the rest with tensors alone. Calling does both.
    """

    def __init__(self, split: Split, batch_size: int, augmentation: Augmentation, seed: int) -> None:
        self.split = split
        self.batch_size = min(batch_size, len(split))
        self.augmentation = augmentation
        self.seed = seed
        self.steps_per_epoch = max(1, len(split) // self.batch_size)
        self.passes = Passes()
        self._first_flip = _generator(seed, _FLIP, 0).random(len(split)) < 0.5
        self._labels = torch.from_numpy(split.labels)
        self._pass = self._step = -1
        self._order = self._chosen = np.empty(0, np.int64)

    def pass_of(self, step: int) -> tuple[int, int]:
        """The number of the pass that a step belongs to, and the step's place in it, both counted from 0."""
        images = self.passes.images
        steps = self.steps_per_epoch if images is None else max(1, len(images) // self.batch_size)
        passed, place = divmod(step - self.passes.first_step, steps)
        return self.passes.number + passed, place

    def positions(self, step: int) -> np.ndarray:
        """Which images of the split the batch of this step holds: int64, shape (batch_size,)."""
        if step == self._step:
            return self._chosen
        number, place = self.pass_of(step)
        if number != self._pass:
            self._pass = number
            images = np.arange(len(self.split)) if self.passes.images is None else self.passes.images
            self._order = _generator(self.seed, _ORDER, number).permutation(images)
        # Sorted, so that the memory map is read from front to back; the order inside a batch means nothing.
        self._step = step
        self._chosen = np.sort(self._order[place * self.batch_size : (place + 1) * self.batch_size])
        return self._chosen

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: uint8 images (N, H, W, C) and int64 labels (N,)."""
        return self.finish(*self.prepare(step))

    def prepare(self, step: int) -> tuple[Tensor, ...]:
        """What :meth:`finish` makes the batch of a step from: tensors of the same shapes at every step."""
        chosen = self.positions(step)
        flipped, random = self._varied(step, chosen)
        images = augment(self.split.take(chosen), self.augmentation, flipped, random)
        return torch.from_numpy(images), self._labels[chosen]

    def finish(self, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels from what :meth:`prepare` gave, which may have been brought to another device."""
        images, labels = prepared
        return images, labels

    def _varied(self, step: int, chosen: np.ndarray) -> tuple[np.ndarray, np.random.Generator]:
        """Which of the chosen images are mirrored in this step, and what draws the rest."""
        mirrored = self._first_flip[chosen] ^ bool(self.pass_of(step)[0] % 2)
        return mirrored, _generator(self.seed, _STEP, step)


class ResidentBatches(Batches):
    """The same batches, of images that stay on a device and are varied there.

    Args:
        device: which has the memory for all images of the split, see :func:`make_batches`.
        split, batch_size, augmentation, seed: as of :class:`Batches`.
    """

    def __init__(
        self, split: Split, batch_size: int, augmentation: Augmentation, seed: int, device: torch.device
    ) -> None:
        super().__init__(split, batch_size, augmentation, seed)
        self._images = _resident(split, device)
        self._labels_there = self._labels.to(device)
        height, width = self._images.shape[1:3]
        self._rows, self._columns = torch.arange(height, device=device), torch.arange(width, device=device)

    def prepare(self, step: int) -> tuple[Tensor, ...]:
        chosen = self.positions(step)
        flipped, random = self._varied(step, chosen)
        height, width = self._images.shape[1:3]
        choices = draw(self.augmentation, flipped, (height, width), random)
        return (torch.from_numpy(np.vstack([chosen, choices])),)

    def finish(self, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        (choices,) = prepared
        chosen, tops, lefts, mirrored, corner_tops, corner_lefts = choices.to(self._images.device)[:, :, None]
        _, height, width, _ = self._images.shape
        reach, side = self.augmentation.translate, min(self.augmentation.cutout, height, width)
        rows = _reflected(self._rows + tops - reach, height)
        columns = _reflected(self._columns + lefts - reach, width)
        columns = torch.where(mirrored.bool(), columns.flip(1), columns)
        images = self._images[chosen[:, :, None], rows[:, :, None], columns[:, None, :]]
        if side:
            covered_rows = (self._rows >= corner_tops) & (self._rows < corner_tops + side)
            covered_columns = (self._columns >= corner_lefts) & (self._columns < corner_lefts + side)
            covered = (covered_rows[:, :, None] & covered_columns[:, None, :])[..., None]
            mean = self._images[chosen[:, 0]].double().mean((0, 1, 2)).round().to(torch.uint8)
            images = torch.where(covered, mean, images)
        return images, self._labels_there[chosen[:, 0]]


def make_batches(split: Split, batch_size: int, augmentation: Augmentation, seed: int, device: torch.device) -> Batches:
    """The batches of a split for a training on ``device``: on a CUDA GPU that has the memory, the images stay there.

    The arguments are those of :class:`Batches`.
    """
    device = torch.empty(0, device=device).device  # With the number that "cuda" alone lacks.
    if device.type != "cuda":
        return Batches(split, batch_size, augmentation, seed)
    fits = device in _on_devices.get(split, {})
    if not fits:
        free, _ = torch.cuda.mem_get_info(device)
        fits = len(split) * split.images[0].nbytes <= RESIDENT_SHARE * free
    if fits:
        return ResidentBatches(split, batch_size, augmentation, seed, device)
    return Batches(split, batch_size, augmentation, seed)


_on_devices: WeakKeyDictionary[Split, dict[torch.device, Tensor]] = WeakKeyDictionary()


def _resident(split: Split, device: torch.device) -> Tensor:
    """All images of the split on the device, brought there once."""
    places = _on_devices.setdefault(split, {})
    if device not in places:
        images = torch.empty((len(split), *split.images.shape[1:]), dtype=torch.uint8, device=device)
        piece = max(1, _PIECE // split.images[0].nbytes)
        for start in range(0, len(split), piece):
            images[start : start + piece] = torch.from_numpy(split.take(slice(start, start + piece)))
        places[device] = images
    return places[device]


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places from 0 to ``size`` - 1 for those of a row that goes on beyond its ends as in a mirror."""
    period = max(1, 2 * (size - 1))
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def draw(
    augmentation: Augmentation, flipped: np.ndarray, size: tuple[int, int], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """How each image of a batch is varied: int64 (5, N).

    The rows: where the window begins in the image with its reflected borders, from the top and from the left; whether
    it is mirrored, 0 or 1; where the square begins, from the top and from the left, 0 without one.

    Args:
        augmentation: how.
        flipped: bool (N,): which images to mirror if ``augmentation.flip``.
        size: height and width of the images.
        random: draws the shifts and the places of the squares.
    """
    (height, width), count = size, len(flipped)
    side = min(augmentation.cutout, height, width)
    shifts = random.integers(0, 2 * augmentation.translate + 1, (2, count))
    corners = np.zeros((2, count), np.int64)
    if side:
        corners = random.integers(0, (height - side + 1, width - side + 1), (count, 2)).T
    return np.vstack([shifts, (flipped & augmentation.flip).astype(np.int64), corners])


def augment(
    images: np.ndarray, augmentation: Augmentation, flipped: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """A varied copy of ``images``, uint8 (N, H, W, C).

    Args:
        images: what to vary; not changed.
        augmentation, flipped, random: as of :func:`draw`.
    """
    count, height, width, channels = images.shape
    reach = augmentation.translate
    side = min(augmentation.cutout, height, width)
    tops, lefts, mirrored, *corners = draw(augmentation, flipped, (height, width), random)
    sides = images.copy()
    which = mirrored.astype(bool)
    # torch mirrors rows of pixels eight times as fast as numpy, if they are laid out as it lays out its images.
    sides[which] = torch.from_numpy(images[which]).permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1).numpy()
    # What is cut out of a mirrored image lies as far from its right as from the left of the image itself.
    lefts = np.where(which, 2 * reach - lefts, lefts)
    padded = np.pad(sides, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "reflect") if reach else sides
    varied = np.empty((count, height, width, channels), np.uint8)
    # A loop over images that copies whole rows is three times as fast as one gather over all pixels.
    for target, image, top, left in zip(varied, padded, tops.tolist(), lefts.tolist(), strict=True):
        target[...] = image[top : top + height, left : left + width]
    if side:
        mean = images.mean((0, 1, 2)).round().astype(np.uint8)
        for target, top, left in zip(varied, *corners, strict=True):
            target[top : top + side, left : left + side] = mean
    return varied
