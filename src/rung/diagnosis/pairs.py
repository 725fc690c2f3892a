"""Pairs of images that are the same, as the diagnosis sees them."""

from __future__ import annotations

from dataclasses import dataclass

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
