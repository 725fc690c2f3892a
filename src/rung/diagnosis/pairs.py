"""Pairs of images that are the same, as the diagnosis sees them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from rung.data.dataset import Dataset

Place = tuple[str, int]


@dataclass(frozen=True)
class Pair:
    """Two images that are the same, or nearly.

    Attributes:
        first, second: split and position of each.
        exact: whether every pixel is the same.
        alike: how much alike they are, 0 to 1.
    """

    first: Place
    second: Place
    exact: bool
    alike: float = 1.0


def same_pixels(dataset: Dataset) -> tuple[Pair, ...]:
    """Pairs of images with the same pixels, in all splits; each image is paired with the first like it.

    Blank images, of one value only, are not told apart by what they show and are left out.
    """
    first: dict[bytes, Place] = {}
    found: list[Pair] = []
    for split in dataset.splits:
        for start in range(0, len(split), 1024):
            for number, image in enumerate(split.take(slice(start, start + 1024)), start):
                if image.min() == image.max():
                    continue
                digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
                place = (split.name, number)
                if digest in first:
                    found.append(Pair(first[digest], place, True))
                else:
                    first[digest] = place
    return tuple(found)
