"""Images that a person should look at: blank ones, those that are nearly so, and those unlike all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Split

BLANK = 0.5
"""Grey levels of standard deviation below which an image is blank."""

NEARLY_BLANK = 6.0
"""And below which it is nearly blank: a photograph has 30 to 80."""

OUTLIERS = 12
_AT_ONCE = 2**24


@dataclass(frozen=True)
class Suspicious:
    """One image, by its row in the data set's array, what is conspicuous about it, and the words for it."""

    row: int
    kind: str
    words: str


def conspicuous(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> list[Suspicious]:
    """Blank and nearly blank images among ``rows``, the most uniform first."""
    found: list[tuple[float, Suspicious]] = []
    step = max(1, _AT_ONCE // int(np.prod(images.shape[1:])))
    for start in range(0, len(rows), step):
        chosen = rows[start : start + step]
        flat = images[chosen].reshape(len(chosen), -1, images.shape[3])
        # A channel at a time: a picture of one colour has no deviation in any.
        deviation = np.stack([flat[..., c].std(1, dtype=np.float32) for c in range(flat.shape[2])], 1).max(1)
        for place in np.flatnonzero(deviation < NEARLY_BLANK).tolist():
            value = float(deviation[place])
            kind = "blank" if value < BLANK else "nearly blank"
            words = "one colour" if value < BLANK else f"deviation of {value:.1f} grey levels"
            found.append((value, Suspicious(int(chosen[place]), kind, words)))
    return [item for _, item in sorted(found, key=lambda pair: (pair[0], pair[1].row))]


def outliers(features: npt.NDArray[np.float32], split: Split, positions: npt.NDArray[np.int64]) -> list[Suspicious]:
    """The images that are farthest from their fifth nearest neighbour, in multiples of the median; those from 2 on."""
    if len(features) < 20:
        return []
    squares = (features**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * features @ features.T, 0))
    fifth = np.partition(distances, 5, axis=1)[:, 5]
    times = fifth / max(float(np.median(fifth)), 1e-9)
    chosen = np.argsort(-times, kind="stable")[:OUTLIERS]
    return [
        Suspicious(int(split.rows[positions[at]]), "unlike the others", f"{times[at]:.1f} times as far as usual")
        for at in chosen.tolist()
        if times[at] >= 2
    ]
