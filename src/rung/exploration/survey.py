"""Everything that is known about a data set before training, in one value."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Dataset, Split
from rung.data.duplicates import Duplicates, find_duplicates
from rung.data.source import Source
from rung.exploration.originals import Originals, look_at_originals
from rung.exploration.plane import POINTS, lay_out, principal_components
from rung.exploration.statistics import PixelStatistics, class_counts, pixel_statistics
from rung.exploration.suspicion import Suspicious, conspicuous, outliers
from rung.progress import Progress, silent
from rung.seeds import check_seed

LISTED = 1000
"""Pairs and suspicious images that the summary names, at most."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What is in a data set.

    Attributes:
        dataset: the images, as a training would see them.
        everything: all images of all splits, in the order train, val, test.
        counts: images of each class, by split.
        pixels: statistics by split.
        originals: formats and sizes in the data.
        duplicates: images that occur more than once.
        suspicious: images to look at.
        mapped: positions in ``everything`` of the images on the map.
        places: where they lie on it, float32 (n, 2), from 0 to 1.
        seconds: that looking took, by part.
    """

    dataset: Dataset
    everything: Split
    counts: Mapping[str, tuple[int, ...]]
    pixels: Mapping[str, PixelStatistics]
    originals: Originals
    duplicates: Duplicates
    suspicious: tuple[Suspicious, ...]
    mapped: npt.NDArray[np.int64]
    places: npt.NDArray[np.float32]
    seconds: Mapping[str, float]

    def place_of(self, row: int) -> tuple[str, int] | None:
        """Split and position of the image in a row of the data set's array; None where it is in no split."""
        found = np.flatnonzero(self.everything.rows == row)
        if not len(found):
            return None
        position = int(found[0])
        for split in self.dataset.splits:
            if position < len(split):
                return split.name, position
            position -= len(split)
        return None

    def number(self, split: str, position: int) -> int:
        """The position in ``everything`` of an image of a split."""
        before = 0
        for one in self.dataset.splits:
            if one.name == split:
                return before + position
            before += len(one)
        raise KeyError(split)

    def name(self, split: str, position: int) -> str:
        """What to call an image: its file, or its place."""
        file = next(one for one in self.dataset.splits if one.name == split).file(position)
        return file if file is not None else f"{split} image {position}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        data = self.dataset
        labels = {split.name: split.labels for split in data.splits}

        def told(split: str, position: int) -> dict[str, Any]:
            label = data.classes[int(labels[split][position])]
            return {"split": split, "position": position, "class": label, "name": self.name(split, position)}

        suspicious = []
        for item in self.suspicious[:LISTED]:
            place = self.place_of(item.row)
            if place is not None:
                suspicious.append({"kind": item.kind, "words": item.words, **told(*place)})
        return {
            "name": data.name,
            "origin": data.origin,
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "image_size": list(data.image_size),
            "channels": data.channels,
            "images": {split.name: len(split) for split in data.splits},
            "class_counts": {name: list(counts) for name, counts in self.counts.items()},
            "pixels": {name: asdict(one) for name, one in self.pixels.items()},
            "originals": {
                "headers_read": self.originals.read,
                "formats": dict(self.originals.formats),
                "different_sizes": len(self.originals.sizes),
                "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in self.originals.sizes[:50]],
            },
            "duplicates": {
                "compared": self.duplicates.compared,
                "exact": len(self.duplicates.exact),
                "near": len(self.duplicates.near),
                "across_splits": sum(pair.crosses for pair in self.duplicates.pairs),
                "test_images_seen_in_training": len(self.leaked),
                "pairs": [
                    {
                        "first": told(pair.first.split, pair.first.position),
                        "second": told(pair.second.split, pair.second.position),
                        "similarity": round(pair.similarity, 4),
                        "exact": pair.exact,
                        "mirrored": pair.mirrored,
                        "shift": list(pair.shift),
                    }
                    for pair in self.duplicates.pairs[:LISTED]
                ],
            },
            "suspicious": suspicious,
            "unreadable": [asdict(one) for one in data.unreadable],
            "notes": list(data.notes),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }

    @property
    def leaked(self) -> tuple[int, ...]:
        """Positions of the test images that have a copy in the training or the validation split."""
        both = (*self.duplicates.copied("test", "train"), *self.duplicates.copied("test", "val"))
        return tuple(dict.fromkeys(both))


def survey(source: Source, dataset: Dataset, *, seed: int = 0, progress: Progress = silent) -> Survey:
    """Look at a data set from all sides.

    Args:
        source: where ``dataset`` comes from.
        dataset: decoded by :func:`rung.data.materialise`, so that its splits share one array.
        seed: of every sample.
        progress: told how far it is.

    Raises:
        UsageError: ``seed`` is out of its range.
    """
    check_seed(seed)
    clock = _Clock()
    everything = _together(dataset)
    counts = class_counts(dataset)
    pixels = {split.name: pixel_statistics(split, seed) for split in dataset.splits}
    clock.lap("statistics")
    originals = look_at_originals(source, {item.file for item in dataset.unreadable}, progress)
    clock.lap("originals")
    duplicates = find_duplicates(dataset.splits, seed=seed, progress=progress)
    clock.lap("duplicates")
    progress("Drawing the map", 0, None)
    mapped = np.sort(np.random.default_rng(seed).permutation(len(everything))[:POINTS])
    features = principal_components(everything, mapped)
    places = lay_out(features, seed)
    clock.lap("map")
    suspicious = [
        *conspicuous(everything.images, everything.rows),
        *(Suspicious(row, "extreme shape", f"{w} × {h} pixels") for row, (h, w) in originals.extreme),
        *(Suspicious(row, "other size", f"{w} × {h} pixels") for row, (h, w) in originals.odd),
        *outliers(features, everything, mapped),
    ]
    clock.lap("suspicious images")
    return Survey(
        dataset, everything, counts, pixels, originals, duplicates, tuple(suspicious), mapped, places, clock.laps
    )


class _Clock:
    def __init__(self) -> None:
        self._last = time.monotonic()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._last = now - self._last, now


def _together(dataset: Dataset) -> Split:
    rows = np.concatenate([split.rows for split in dataset.splits])
    labels = np.concatenate([split.labels for split in dataset.splits])
    return Split("all", dataset.train.images, rows, labels, dataset.train.files)
