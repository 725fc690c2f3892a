"""A page with pictures of what was predicted. However many images go in, it keeps some hundreds."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rung.data.dataset import Images, Split
from rung.prediction.predicting import UNSURE, Prediction, Predictor, shown
from rung.report.page import render
from rung.report.sprites import make_sheet
from rung.storage import write_atomically

DOUBTFUL, OF_A_CLASS, CLASSES, UNREADABLE = 48, 12, 40, 100
"""At most so many images that it is least sure of, images of a class, classes with pictures, and files named."""

_PATH = 60  # characters of a path shown


@dataclass(frozen=True)
class Shown:
    """A picture of the gallery: its place on the sheet, and what is said about it."""

    place: int
    path: str
    label: str
    probability: float
    second: str
    second_probability: float


@dataclass(frozen=True, eq=False)
class _Kept:
    prediction: Prediction
    pixels: Images


class Gallery:
    """Collects predictions one at a time.

    Args:
        predictor: what they come from.
        threshold: below which an answer is "unsure".
    """

    def __init__(self, predictor: Predictor, threshold: float) -> None:
        self._predictor = predictor
        self._threshold = threshold
        self._counts: Counter[str] = Counter()
        self._images = self._unsure = self._unreadable = 0
        self._files: list[tuple[str, str]] = []
        self._by_class: dict[str, list[_Kept]] = {}
        # The surest of the doubtful first, so that it is the one to go when a less sure one comes.
        self._doubtful: list[tuple[float, int, _Kept]] = []

    def add(self, prediction: Prediction) -> None:
        self._images += 1
        if prediction.label is None or prediction.probability is None or prediction.pixels is None:
            self._unreadable += 1
            if len(self._files) < UNREADABLE:
                self._files.append((shown(prediction.path), prediction.error or ""))
            return
        unsure = prediction.answer(self._threshold) == UNSURE and prediction.probability < self._threshold
        self._unsure += unsure
        self._counts[prediction.label] += 1
        entry = (-prediction.probability, self._images)
        doubtful = len(self._doubtful) < DOUBTFUL or entry > self._doubtful[0][:2]
        known = self._by_class.get(prediction.label)
        if known is None and len(self._by_class) < CLASSES:
            known = self._by_class[prediction.label] = []
        wanted = known is not None and len(known) < OF_A_CLASS and not unsure
        if not (doubtful or wanted):
            return
        # A copy: the array that it is a part of holds a whole batch.
        kept = _Kept(prediction, prediction.pixels.copy())
        if wanted and known is not None:
            known.append(kept)
        if doubtful:
            heapq.heappush(self._doubtful, (*entry, kept))
            if len(self._doubtful) > DOUBTFUL:
                heapq.heappop(self._doubtful)

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            RunError: the file cannot be written.
        """
        data = self._predictor.run.info["data"]
        doubtful = [kept for _, _, kept in sorted(self._doubtful, key=lambda entry: entry[:2], reverse=True)]
        classes = sorted(self._by_class.items(), key=lambda item: -self._counts[item[0]])
        pictures = [*doubtful, *(kept for _, some in classes for kept in some)]
        sheet = None
        if pictures:
            pixels = np.stack([kept.pixels for kept in pictures])
            rows = np.arange(len(pixels))
            sheet = make_sheet(Split("predicted", pixels, rows, np.zeros(len(pixels), np.int64)), rows)
        places = iter(range(sheet.count if sheet else 0))
        first = [_told(kept, place) for kept, place in zip(doubtful, places, strict=False)]
        by_class = []
        for name, some in classes:
            # zip asks the pictures first: it must not take a place that it then has no picture for.
            shown_here = [_told(kept, place) for kept, place in zip(some, places, strict=False)]
            if shown_here:
                by_class.append((name, self._counts[name], shown_here))
        page = render(
            "predictions.html.jinja",
            title=str(data["name"]),
            images=self._images,
            readable=self._images - self._unreadable,
            unreadable=self._unreadable,
            unsure=self._unsure,
            threshold=self._threshold,
            counts=self._counts.most_common(),
            sheet=sheet,
            doubtful=first,
            by_class=by_class,
            files=self._files,
        )
        write_atomically(path, page.encode())


def _told(kept: _Kept, place: int) -> Shown:
    (label, probability), *more = kept.prediction.top(2)
    second, second_probability = more[0] if more else ("", 0.0)
    path = shown(kept.prediction.path)
    return Shown(
        place,
        path if len(path) <= _PATH else "…" + path[-_PATH:],
        label,
        probability,
        second,
        second_probability,
    )
