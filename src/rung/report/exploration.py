"""The page of ``rung explore``: what a data set holds."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.batches import Augmentation, augment
from rung.data.dataset import Images, Split
from rung.data.duplicates import Pair
from rung.data.probe import probe
from rung.exploration.plane import small_images
from rung.exploration.statistics import mean_images
from rung.exploration.survey import Survey
from rung.report import charts
from rung.report.page import render
from rung.report.sprites import Sheet, capacity, make_sheet
from rung.training.plan import choose_augmentation

CLASSES = 24  # with a row of samples each; the largest and the smallest of more
SAMPLES = 10  # images of a class
PAIRS = 24
SUSPICIOUS = 24
VARIED = 5  # training images shown with augmentations
VARIANTS = 7  # of each
POINT = 32  # pixels of a picture on the map
LISTED = 200
CHANNELS = {1: ("Grey",), 3: ("Red", "Green", "Blue")}


def build_exploration_report(survey: Survey) -> str:
    """One self-contained HTML page, below 5 MB, of what was found in a data set."""
    return render("explore.html.jinja", **_context(survey))


def _context(survey: Survey) -> dict[str, Any]:
    data = survey.dataset
    sums = np.sum([survey.counts[split.name] for split in data.splits], axis=0)
    chosen, left_out = _classes(sums)
    gallery = _Gallery(survey)
    samples = [(name, data.classes[name], int(sums[name]), _samples(survey, name)) for name in chosen]
    # What matters most comes first: what a full sheet leaves out is at the end.
    pairs = _pairs(survey.duplicates.pairs)
    twins = [
        (pair, *(gallery.add(survey.number(p.split, p.position)) for p in (pair.first, pair.second))) for pair in pairs
    ]
    suspects = []
    for item in _varied_kinds(survey):
        place = survey.place_of(item.row)
        if place is not None:
            suspects.append((item, gallery.add(survey.number(*place)), survey.name(*place)))
    rounds = [gallery.add(numbers[turn]) for turn in range(SAMPLES) for *_, numbers in samples if turn < len(numbers)]
    grid = [
        (label, name, count, [gallery.add(number) for number in numbers]) for label, name, count, numbers in samples
    ]
    drawn = _Drawn(data.train.images.shape[1:])
    means = drawn.add(mean_images(data.train, chosen))
    before = _before_after(survey, drawn)
    augmentation, reason = choose_augmentation(data, probe(data.train, len(data.classes), 0))
    varied = _augmented(data.train, augmentation, drawn)
    sheet = gallery.sheet() if rounds else None
    small = small_images(survey.everything, survey.mapped, POINT)
    map_sheet = make_sheet(_split(small), np.arange(len(small)), 900_000)
    labels = survey.everything.labels[survey.mapped]
    most = int(sums.max()) or 1
    return {
        "title": data.name,
        "survey": survey,
        "data_set": data,
        "sums": sums.tolist(),
        "most": most,
        "grid": grid,
        "left_out": left_out,
        "means": dict(zip(chosen, means, strict=True)),
        "counts_shown": _count_rows(survey, sums),
        "pixels": [(split, survey.pixels[split.name]) for split in data.splits],
        "channel_names": CHANNELS[data.channels],
        "histograms": _histograms(survey),
        "twins": twins,
        "suspects": suspects,
        "suspect_kinds": _kinds(survey),
        "before": before,
        "augmentation": augmentation,
        "augmentation_reason": reason,
        "varied": varied,
        "points": _points(survey, labels),
        "legend": list(enumerate(data.classes)) if len(data.classes) <= 10 else [],
        "sheet": sheet,
        "drawn": drawn.sheet(),
        "map_sheet": map_sheet,
        "unreadable": list(data.unreadable)[:LISTED],
        "verdict": _verdict(survey, sums),
        "data": {
            "classes": list(data.classes),
            "map": {
                "x": [round(float(x), 4) for x in survey.places[:, 0]],
                "y": [round(float(y), 4) for y in survey.places[:, 1]],
                "label": labels.tolist(),
                "columns": map_sheet.columns,
                "count": map_sheet.count,
            },
        },
    }


def _classes(sums: npt.NDArray[Any]) -> tuple[list[int], int]:
    """The classes to show and how many are left out: all, or the largest and the smallest."""
    if len(sums) <= CLASSES:
        return list(range(len(sums))), 0
    order = np.argsort(-sums, kind="stable").tolist()
    return [*order[: CLASSES // 2], *order[-CLASSES // 2 :]], len(sums) - CLASSES


def _samples(survey: Survey, label: int) -> list[int]:
    """Numbers in ``everything`` of random training images of a class."""
    mine = np.flatnonzero(survey.dataset.train.labels == label)
    drawn = np.random.default_rng((0, label)).permutation(mine)[:SAMPLES]
    return [int(number) for number in np.sort(drawn)]


def _pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Those across splits first, since they do harm, then the others; each ranked by similarity."""
    return sorted(pairs, key=lambda pair: not pair.crosses)[:PAIRS]


def _varied_kinds(survey: Survey) -> list[Any]:
    """Some suspicious images of every kind."""
    kinds: dict[str, list[Any]] = {}
    for item in survey.suspicious:
        kinds.setdefault(item.kind, []).append(item)
    each = max(1, SUSPICIOUS // max(1, len(kinds)))
    return [item for items in kinds.values() for item in items[:each]]


def _kinds(survey: Survey) -> list[tuple[str, int]]:
    kinds: dict[str, int] = {}
    for item in survey.suspicious:
        kinds[item.kind] = kinds.get(item.kind, 0) + 1
    return list(kinds.items())


def _count_rows(survey: Survey, sums: npt.NDArray[Any]) -> list[tuple[str, list[int], int]]:
    """(class, images by split, altogether), the largest first; of very many, both ends."""
    order = np.argsort(-sums, kind="stable").tolist()
    if len(order) > 200:
        order = order[:100] + order[-100:]
    names = [split.name for split in survey.dataset.splits]
    return [(survey.dataset.classes[k], [int(survey.counts[name][k]) for name in names], int(sums[k])) for k in order]


def _histograms(survey: Survey) -> list[charts.LineChart]:
    found = []
    for channel, name in enumerate(CHANNELS[survey.dataset.channels]):
        bins = len(survey.pixels["train"].histogram[channel])
        levels = [(k + 0.5) * 256 / bins for k in range(bins)]
        series = [
            charts.Series(title, style, survey.pixels[split].histogram[channel])
            for split, title, style in (("train", "training", "train"), ("test", "test", "val"))
        ]
        found.append(
            charts.line_chart(name, f"histogram-{channel}", levels, series, x_label="grey level", low=0.0, percent=True)
        )
    return found


def _points(survey: Survey, labels: npt.NDArray[np.int64]) -> list[tuple[float, float, int]]:
    """(x, y, colour) of each image on the map, in a square of 600 units."""
    return [
        (round(8 + 584 * float(x), 1), round(8 + 584 * float(y), 1), int(label) % 10)
        for (x, y), label in zip(survey.places, labels, strict=True)
    ]


def _before_after(survey: Survey, drawn: _Drawn) -> list[dict[str, Any]]:
    """Some originals, what preprocessing makes of them, and what the network is given."""
    data, train = survey.dataset, survey.pixels["train"]
    mean, std = np.array(train.mean), np.maximum(np.array(train.std), 1e-6)
    found = []
    for original in survey.originals.shown[:VARIED]:
        pixels = data.train.images[original.row][None]
        normalised = (pixels.astype(np.float64) - mean) / std
        # From -3 to 3 deviations, with 0 in the middle of the grey levels.
        visible = (127.5 + normalised * (127.5 / 3)).round().clip(0, 255).astype(np.uint8)
        prepared, seen = drawn.add(np.concatenate([pixels, visible]))
        found.append(
            {
                "uri": f"data:image/png;base64,{base64.b64encode(original.content).decode()}",
                "size": original.size,
                "name": data.classes[original.label],
                "label": original.label,
                "prepared": prepared,
                "seen": seen,
                "range": (float(normalised.min()), float(normalised.max())),
                "one_hot": _one_hot(original.label, len(data.classes)),
            }
        )
    return found


def _one_hot(label: int, classes: int) -> str:
    """The label as the row that the loss compares with; of many classes, its ends and what lies around the one."""
    shown = (
        sorted({0, *range(max(0, label - 2), min(classes, label + 3)), classes - 1}) if classes > 12 else range(classes)
    )
    words, last = [], -1
    for place in shown:
        if place > last + 1:
            words.append("…")
        words.append("1" if place == label else "0")
        last = place
    return "[" + " ".join(words) + "]"


def _augmented(split: Split, augmentation: Augmentation, drawn: _Drawn) -> list[tuple[int, list[int]]]:
    """Numbers of some training images, each followed by those of its variants as training draws them."""
    random = np.random.default_rng(0)
    chosen = np.sort(random.permutation(len(split))[:VARIED])
    found = []
    for image in split.take(chosen):
        same = np.repeat(image[None], VARIANTS, axis=0)
        variants = augment(same, augmentation, np.arange(VARIANTS) % 2 == 0, random)
        first, *others = drawn.add(np.concatenate([image[None], variants]))
        found.append((first, others))
    return found


def _split(images: Images) -> Split:
    return Split("drawn", images, np.arange(len(images)), np.zeros(len(images), np.int64))


class _Gallery:
    """Images of the data set that the page shows, each once, up to what a sheet holds."""

    def __init__(self, survey: Survey) -> None:
        self._everything = survey.everything
        self._room = capacity(survey.everything)
        self._numbers: dict[int, int] = {}

    def add(self, number: int) -> int:
        """The place on the sheet of an image of ``everything``; -1 once the sheet is full."""
        if number in self._numbers:
            return self._numbers[number]
        if len(self._numbers) >= self._room:
            return -1
        return self._numbers.setdefault(number, len(self._numbers))

    def sheet(self) -> Sheet:
        return make_sheet(self._everything, np.array(list(self._numbers), np.int64))


class _Drawn:
    """Pictures that were computed."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._images: list[Images] = []
        self._count = 0
        self._shape = shape

    def add(self, images: Images) -> list[int]:
        self._images.append(images)
        self._count += len(images)
        return list(range(self._count - len(images), self._count))

    def sheet(self) -> Sheet:
        images = np.concatenate(self._images)
        return make_sheet(_split(images), np.arange(len(images)))


def _verdict(survey: Survey, sums: npt.NDArray[Any]) -> list[str]:
    """The most important things, as sentences."""
    sentences = []
    leaked, tested = len(survey.leaked), len(survey.dataset.test)
    if leaked:
        verb = "have a copy" if leaked > 1 else "has a copy"
        sentences.append(
            f"{leaked:,} of the {tested:,} test images ({leaked / tested:.1%}) {verb} in training or validation: their "
            "answers may be remembered instead of known."
        )
    elif survey.duplicates.pairs:
        sentences.append("No test image has a copy in training or validation.")
    else:
        sentences.append("No image occurs twice.")
    least, most = int(sums.min()), int(sums.max())
    if most >= 1.5 * least:
        name = survey.dataset.classes[int(sums.argmin())]
        sentences.append(
            f"The largest class has {most / max(least, 1):.1f} times as many images as the smallest, {name}."
        )
    else:
        sentences.append("All classes have about the same number of images.")
    blank = sum(item.kind == "blank" for item in survey.suspicious)
    if blank:
        sentences.append(f"{blank:,} image{'s are' if blank > 1 else ' is'} blank.")
    if survey.dataset.unreadable:
        count = len(survey.dataset.unreadable)
        sentences.append(f"{count:,} file{'s' if count > 1 else ''} cannot be read.")
    return sentences
