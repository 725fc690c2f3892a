"""Images that occur more than once in a data set: the same pixels, or the same picture in other pixels.

Near copies are searched among all pairs in two steps.

1. *Candidates.* The magnitudes of a picture's low spatial frequencies hardly change when it is shifted by a few
   pixels, scaled in brightness or compressed, and mirroring only permutes them. Whitened by their principal
   components they make a descriptor of 64 numbers, so one matrix product compares all images with all others,
   another one with their mirror images.
2. *Verification.* Phase tells what magnitudes cannot. Every candidate is aligned at the peak of its
   cross-correlation, and correlated where the two overlap: the pictures as they are, and their details alone (a
   band of frequencies), because two skies or two shirts agree in everything but details.

What a correlation of details says depends on how much detail there is: two ships on the horizon agree by chance,
two frogs in the grass do not. So it counts in standard deviations: the inverse hyperbolic tangent of the
correlation, times the root of the effective number of pixels, (Σ d²)² / Σ d⁴ of the details d. That also makes tiny
pictures, such as digits, count only where they agree almost perfectly. The threshold of 16 comes from CIFAR-10: of
its 2,801 pairs above, none has two different labels, of 905 between 14 and 16 three have.

A small bird in an empty sky cannot reach that, not even against its own copy. Half as much is enough where no more
differs than compression leaves: pictures and details correlate almost perfectly, and the difference is a few grey
levels. The levels keep digits apart: two may agree in form that well, but their contrast is strong.
``benchmarks/duplicates.py`` measures what is found.

Pictures larger than 32 pixels are compared at 32 pixels on their longer side, in grey.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Split
from rung.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MOST = 120_000
"""Near copies are searched among so many images at most (the cost grows with the square): a random sample of more."""

WHOLE = 0.7
"""Least correlation of the two pictures."""

EVIDENCE = 16.0
"""Least agreement of their details, in standard deviations."""

LITTLE_EVIDENCE, EQUAL_WHOLE, EQUAL_DETAIL, EQUAL_LEVELS = 8.0, 0.9, 0.93, 8.0
"""Of pictures that show little, the first is enough where their correlation is at least the second, that of their
details the third, and their difference at most the fourth, in grey levels (root mean square, brightness and contrast
matched)."""

_SIDE = 32
_FREQUENCIES = 8  # cycles across the picture; higher ones are what compression destroys
_COMPONENTS = 64
_CANDIDATE = 0.52  # least cosine of two descriptors
_CANDIDATES = 600_000  # verified at most, the likeliest ones
_BLOCK = 2048  # images of each side of one matrix product
_AT_ONCE = 2048  # images, or pairs, in memory as floating-point pictures
_RADIUS = 3  # pixels of the wider blur that details are what is left of
_BLANK = 2.0  # grey levels of standard deviation below which a picture has nothing to compare


@dataclass(frozen=True)
class Place:
    """An image of a data set: ``position`` in the split of that name."""

    split: str
    position: int


@dataclass(frozen=True)
class Pair:
    """Two images that show the same.

    Attributes:
        first, second: the images, in the order of the data.
        similarity: 1 for the same pixels, otherwise the lesser of the two correlations, below 1.
        exact: whether every pixel is the same.
        mirrored: whether the one is the other's mirror image.
        shift: (rows, columns) by which the second lies lower and further right, in pixels of the images.
    """

    first: Place
    second: Place
    similarity: float
    exact: bool = False
    mirrored: bool = False
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def crosses(self) -> bool:
        """Whether the two are in different splits, so that what is learnt from the one answers for the other."""
        return self.first.split != self.second.split


@dataclass(frozen=True)
class Duplicates:
    """What :func:`find_duplicates` found.

    Attributes:
        pairs: the most similar first, exact ones before all others. Of several images with the same pixels each is
            paired with the first of them alone.
        images: how many images were compared by their pixels.
        compared: how many of them were searched for near copies.
    """

    pairs: tuple[Pair, ...]
    images: int
    compared: int

    @property
    def exact(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.exact)

    @property
    def near(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if not pair.exact)

    def between(self, one: str, other: str) -> tuple[Pair, ...]:
        """The pairs of an image of split ``one`` with an image of split ``other``, which may be the same."""
        return tuple(
            pair for pair in self.pairs if sorted((pair.first.split, pair.second.split)) == sorted((one, other))
        )

    def copied(self, split: str, source: str) -> tuple[int, ...]:
        """Positions of the images in ``split`` that have a copy in ``source``, the most similar first."""
        found: dict[int, None] = {}
        for pair in self.between(split, source):
            for here, there in ((pair.first, pair.second), (pair.second, pair.first)):
                if (here.split, there.split) == (split, source):
                    found.setdefault(here.position)
        return tuple(found)


def find_duplicates(
    splits: Sequence[Split], *, near: bool = True, most: int = MOST, seed: int = 0, progress: Progress = silent
) -> Duplicates:
    """Find the images that occur more than once within and across splits.

    All 60,000 images of CIFAR-10 take some seconds; memory use is bounded by 350 bytes an image.

    Args:
        splits: of one size and number of channels, as those of a ``Dataset``.
        near: whether to look for near copies as well: mirrored, shifted by up to a tenth of their side, with other
            brightness, compressed again.
        most: near copies are searched among so many images, a random sample where there are more.
        seed: of that sample.
        progress: told how far the search is.

    Returns:
        The pairs, ranked.

    Reference: B. Barz and J. Denzler, "Do we train on test data? Purging CIFAR of near-duplicates", Journal of
    Imaging 6 (2020) 41, found by a network's features and by hand that 3.3 % of CIFAR-10's test images have a near
    duplicate in the training data.
    """
    pictures = _Pictures(splits)
    twins, repeated = _same_pixels(pictures, progress)
    pairs = [Pair(pictures.place(first), pictures.place(second), 1.0, exact=True) for first, second in twins]
    compared = 0
    if near and min(pictures.shape) >= 4:
        chosen = np.setdiff1d(np.arange(len(pictures)), repeated)
        if len(chosen) > most:
            chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:most])
        chosen, grey = _reduced(pictures, chosen, progress)
        compared = len(chosen)
        if compared > 1:
            found = _near(grey, progress)
            scale = pictures.shape[0] / grey.shape[1], pictures.shape[1] / grey.shape[2]
            pairs += [
                Pair(
                    pictures.place(int(chosen[match.first])),
                    pictures.place(int(chosen[match.second])),
                    match.similarity,
                    mirrored=match.mirrored,
                    shift=(match.shift[0] * scale[0], match.shift[1] * scale[1]),
                )
                for match in found
            ]
    return Duplicates(tuple(pairs), len(pictures), compared)


class _Pictures:
    """The images of several splits, counted through."""

    def __init__(self, splits: Sequence[Split]) -> None:
        self._splits = splits
        self._starts = np.cumsum([0, *(len(split) for split in splits)])
        self.shape = splits[0].images.shape[1], splits[0].images.shape[2]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def place(self, number: int) -> Place:
        part = int(np.searchsorted(self._starts, number, "right")) - 1
        return Place(self._splits[part].name, number - int(self._starts[part]))

    def take(self, numbers: Integers) -> npt.NDArray[np.uint8]:
        """uint8 (n, H, W, C); ``numbers`` rise."""
        parts = []
        for split, start, end in zip(self._splits, self._starts, self._starts[1:], strict=False):
            inside = numbers[(numbers >= start) & (numbers < end)] - start
            if len(inside):
                parts.append(split.take(inside))
        return np.concatenate(parts)


def _same_pixels(pictures: _Pictures, progress: Progress) -> tuple[list[tuple[int, int]], Integers]:
    """(first, further) of images with the same pixels, and the numbers of the further ones."""
    seen: dict[bytes, int] = {}
    twins: list[tuple[int, int]] = []
    for numbers in _blocks(len(pictures), _AT_ONCE):
        for number, image in zip(numbers.tolist(), pictures.take(numbers), strict=True):
            first = seen.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), number)
            if first != number:
                twins.append((first, number))
        progress("Looking for copies", int(numbers[-1]) + 1, len(pictures))
    return sorted(twins), np.array([further for _, further in twins], np.int64)


def _reduced(pictures: _Pictures, chosen: Integers, progress: Progress) -> tuple[Integers, npt.NDArray[np.uint8]]:
    """The chosen pictures in grey and at most 32 pixels large, uint8 (n, h, w), without those that are blank."""
    import torch

    scale = min(1.0, _SIDE / max(pictures.shape))
    height, width = (max(4, round(side * scale)) for side in pictures.shape)
    weights = torch.tensor([0.299, 0.587, 0.114])
    kept = np.empty((len(chosen), height, width), np.uint8)
    contrast = np.empty(len(chosen), np.float32)
    # Large photographs are read a few at a time.
    step = max(16, min(_AT_ONCE, 2**22 // math.prod(pictures.shape)))
    for places in _blocks(len(chosen), step):
        images = torch.from_numpy(pictures.take(chosen[places])).float()
        grey = images @ weights if images.shape[3] == 3 else images[..., 0]
        if scale < 1:
            grey = torch.nn.functional.adaptive_avg_pool2d(grey[:, None], (height, width))[:, 0]
        kept[places] = grey.round().to(torch.uint8).numpy()
        contrast[places] = grey.flatten(1).std(1, correction=0).numpy()
    sharp = contrast >= _BLANK
    return chosen[sharp], kept if sharp.all() else kept[sharp]


@dataclass(frozen=True)
class _Match:
    first: int
    second: int
    similarity: float
    mirrored: bool
    shift: tuple[int, int]


def _near(grey: npt.NDArray[np.uint8], progress: Progress) -> list[_Match]:
    """Matches among pictures uint8 (n, h, w), the most similar first."""
    first, second, flipped = _candidates(*_descriptors(grey), progress)
    whole, detail, evidence, difference, shifts = _correlations(grey, first, second, flipped, progress)
    similarity = np.minimum(whole, detail)
    much = (whole >= WHOLE) & (evidence >= EVIDENCE)
    equal = (whole >= EQUAL_WHOLE) & (detail >= EQUAL_DETAIL) & (difference <= EQUAL_LEVELS)
    good = np.flatnonzero(much | (equal & (evidence >= LITTLE_EVIDENCE)))
    matches: dict[tuple[int, int], _Match] = {}
    for place in good[np.argsort(-similarity[good], kind="stable")].tolist():
        pair = int(first[place]), int(second[place])
        # A symmetrical picture matches as it is and mirrored; the better of the two is kept.
        if pair not in matches:
            rows, columns = shifts[place].tolist()
            matches[pair] = _Match(*pair, float(min(similarity[place], 0.9999)), bool(flipped[place]), (rows, columns))
    return list(matches.values())


# --- candidates ------------------------------------------------------------------------------------------


def _descriptors(grey: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Unit vectors (n, d) of the pictures, and of their mirror images."""
    import torch

    count, height, width = grey.shape
    down, across = torch.fft.fftfreq(height, 1 / height), torch.arange(width // 2 + 1)
    square = down[:, None] ** 2 + across[None] ** 2
    used = (square <= _FREQUENCIES**2) & (square > 0) & ((across[None] > 0) | (down[:, None] > 0))
    weights = square[used] ** 0.25
    # The magnitude at (down, across) of a mirror image is that at (-down, across) of the picture.
    numbers = torch.zeros(used.shape, dtype=torch.int64)
    numbers[used] = torch.arange(int(used.sum()))
    opposite = numbers[(-torch.arange(height)) % height]
    opposite[:, 0] = numbers[:, 0]
    turned = opposite[used]
    # It falls off faster than the one for shifts: a black edge against a bright picture outweighs all else.
    window = _window(height, width, 0.75)

    def magnitudes(places: Integers) -> Tensor:
        pictures = _windowed(torch.from_numpy(grey[places]).float(), window)
        found = torch.fft.rfft2(pictures).abs()[:, used] * weights
        # The root makes a few strong frequencies count less.
        return torch.nn.functional.normalize(found, dim=1).sqrt()

    sample = magnitudes(np.linspace(0, count - 1, min(count, 8000)).astype(np.int64))
    sample = torch.cat([sample, sample[:, turned]])
    mean = sample.mean(0)
    variances, vectors = torch.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
    kept = variances.argsort(descending=True)[:_COMPONENTS]
    whiten = vectors[:, kept] / (variances[kept].clamp_min(1e-4 * float(variances.max()) + 1e-12)).sqrt()
    ahead = torch.empty(count, len(kept))
    mirrored = torch.empty(count, len(kept))
    for places in _blocks(count, _AT_ONCE):
        found = magnitudes(places)
        ahead[places] = torch.nn.functional.normalize((found - mean) @ whiten, dim=1)
        mirrored[places] = torch.nn.functional.normalize((found[:, turned] - mean) @ whiten, dim=1)
    return ahead, mirrored


def _candidates(
    ahead: Tensor, mirrored: Tensor, progress: Progress
) -> tuple[Integers, Integers, npt.NDArray[np.bool_]]:
    """Pairs first < second of likely copies, and whether it is the mirror image that is alike."""
    count, least, held = len(ahead), _CANDIDATE, 0
    found: list[npt.NDArray[Any]] = []
    kind = np.dtype([("first", np.int32), ("second", np.int32), ("score", np.float32), ("mirrored", np.bool_)])
    for start in range(0, count, _BLOCK):
        for other in range(start, count, _BLOCK):
            for flipped, against in ((False, ahead), (True, mirrored)):
                scores = (ahead[start : start + _BLOCK] @ against[other : other + _BLOCK].T).numpy()
                places = np.flatnonzero(scores > least)
                rows, columns = np.divmod(places, scores.shape[1])
                if other == start:
                    places, rows, columns = (a[rows < columns] for a in (places, rows, columns))
                some = np.empty(len(places), kind)
                some["first"], some["second"] = rows + start, columns + other
                some["score"], some["mirrored"] = scores.ravel()[places], flipped
                found.append(some)
                held += len(some)
        if held > 2 * _CANDIDATES:
            found = [_best(np.concatenate(found))]
            least, held = float(found[0]["score"].min()), len(found[0])
        progress("Comparing the images", min(start + _BLOCK, count), count)
    best = _best(np.concatenate(found))
    return best["first"].astype(np.int64), best["second"].astype(np.int64), best["mirrored"].copy()


def _best(candidates: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if len(candidates) <= _CANDIDATES:
        return candidates
    return candidates[np.argpartition(-candidates["score"], _CANDIDATES - 1)[:_CANDIDATES]]


# --- verification ----------------------------------------------------------------------------------------


def _correlations(
    grey: npt.NDArray[np.uint8], first: Integers, second: Integers, flipped: npt.NDArray[np.bool_], progress: Progress
) -> tuple[Floats, Floats, Floats, Floats, Integers]:
    """For each pair: correlation of the aligned pictures, that of their details, its evidence, the pictures' difference
    in grey levels, and the shift (n, 2)."""
    shifts = _shifts(grey, first, second, flipped, progress)
    details = _details(grey)
    whole, detail, evidence, difference = (np.empty(len(first), np.float32) for _ in range(4))
    # Pairs of the same shift overlap in the same rectangle.
    _, groups = np.unique(shifts, axis=0, return_inverse=True)
    order = np.argsort(groups.ravel(), kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(groups.ravel()[order])) + 1):
        for places in (group[block] for block in _blocks(len(group), _AT_ONCE)):
            shift = shifts[places[0]]
            pairs = first[places], second[places], flipped[places]
            whole[places], _, difference[places] = _overlap(grey, *pairs, shift, 0)
            detail[places], pixels, _ = _overlap(details, *pairs, shift, _RADIUS)
            evidence[places] = np.arctanh(detail[places].clip(-0.9999, 0.9999)) * np.sqrt(pixels)
    return whole, detail, evidence, difference, shifts


def _shifts(
    grey: npt.NDArray[np.uint8], first: Integers, second: Integers, flipped: npt.NDArray[np.bool_], progress: Progress
) -> Integers:
    """(n, 2): by how many rows and columns the second picture of each pair lies lower and further right."""
    import torch

    count, (height, width) = len(first), grey.shape[1:]
    reach = max(1, round(height / 10)), max(1, round(width / 10))
    window, band = _window(height, width, 0.5), _band(height, width)
    down, across = (torch.arange(-side, side + 1) for side in reach)
    shifts = np.empty((count, 2), np.int64)
    for places in _blocks(count, _AT_ONCE):
        one, two = torch.from_numpy(grey[first[places]]).float(), torch.from_numpy(grey[second[places]]).float()
        two = torch.where(torch.from_numpy(flipped[places])[:, None, None], two.flip(2), two)
        one, two = (torch.fft.rfft2(_windowed(pictures, window)) for pictures in (one, two))
        # Strong frequencies are held down: along a horizon the little that is weak alone tells the shift.
        product = one.conj() * two
        peaks = torch.fft.irfft2(product / product.abs().clamp_min(1e-6).sqrt().sqrt() * band, s=(height, width))
        best = peaks[:, down % height][:, :, across % width].flatten(1).argmax(1)
        shifts[places] = torch.stack([down[best // len(across)], across[best % len(across)]], 1).numpy()
        progress("Verifying copies", int(places[-1]) + 1, count)
    return shifts


def _overlap(
    pictures: npt.NDArray[Any],
    first: Integers,
    second: Integers,
    flipped: npt.NDArray[np.bool_],
    shift: Integers,
    margin: int,
) -> tuple[Floats, Floats, Floats]:
    """Correlations (n,) of pairs of pictures where they overlap once the second is moved back by ``shift``.

    With them come the effective number of pixels (n,) that each rests on, and the root mean square difference (n,)
    that remains once brightness and contrast are matched.

    ``margin`` pixels at the border of each picture are left out, as far as that leaves half of it.
    """
    height, width = pictures.shape[1:]
    down, across = (min(margin, side // 4) for side in (height, width))
    row, column = int(shift[0]), int(shift[1])
    top, bottom = max(0, -row) + down, height - max(0, row) - down
    left, right = max(0, -column) + across, width - max(0, column) - across
    two = pictures[second]
    two = np.where(flipped[:, None, None], two[:, :, ::-1], two)[
        :, top + row : bottom + row, left + column : right + column
    ]
    a = pictures[first, top:bottom, left:right].reshape(len(first), -1).astype(np.float32)
    b = two.reshape(len(first), -1).astype(np.float32)
    a -= a.mean(1, keepdims=True)
    b -= b.mean(1, keepdims=True)
    squares = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
    correlation = np.einsum("ij,ij->i", a, b) / np.sqrt(np.maximum(squares, 1e-6))
    difference = np.sqrt(np.sqrt(squares) / a.shape[1] * (1 - correlation**2).clip(0))
    a, b = a * a, b * b
    fourth = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
    return correlation, squares / np.sqrt(np.maximum(fourth, 1e-6)), difference


def _details(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """What remains of pictures between two blurs, of radius 1 and 3: no slow gradients, and little noise."""
    import torch
    from torch.nn.functional import avg_pool2d

    def blurred(pictures: Tensor, radius: int) -> Tensor:
        side = 2 * radius + 1
        rows = avg_pool2d(pictures, (side, 1), 1, (radius, 0), count_include_pad=False)
        return avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)

    details = np.empty(grey.shape, np.int8)
    for places in _blocks(len(grey), _AT_ONCE):
        pictures = torch.from_numpy(grey[places]).float()[:, None]
        found = blurred(pictures, 1) - blurred(pictures, _RADIUS)
        # Dark pictures have weak details; eight bits hold them all if each picture uses its own scale.
        scale = found.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-3)
        details[places] = (found[:, 0] * (127 / scale[:, 0])).round().to(torch.int8).numpy()
    return details


def _window(height: int, width: int, power: float) -> Tensor:
    """Falls off towards the border, so that what a shift brings in and takes out counts little."""
    import torch

    down, across = (torch.hann_window(side + 2, periodic=False)[1:-1] ** power for side in (height, width))
    return torch.outer(down, across)


def _windowed(pictures: Tensor, window: Tensor) -> Tensor:
    """Pictures (n, h, w) times the window, about their mean inside it, which a border that differs does not move."""
    inside = pictures * window
    return inside - inside.sum((1, 2), keepdim=True) / window.sum() * window


def _band(height: int, width: int) -> Tensor:
    """Weights of the frequencies for finding a shift: the lowest say little about it."""
    import torch

    down, across = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    distance = (down[:, None] ** 2 + across[None] ** 2).sqrt()
    weights: Tensor = distance**2 * torch.exp(-2 * (distance / 0.25) ** 2)
    return weights


def _blocks(count: int, size: int) -> Iterator[Integers]:
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))
