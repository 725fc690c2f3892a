"""The pictures that belong to findings: suspects with both labels, pairs side by side, rows of examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rung.data.dataset import Dataset, Split
from rung.diagnosis.finding import Finding
from rung.report.charts import LineChart
from rung.report.sprites import Sheet, make_sheet

SUSPECTS = 60  # images shown of a finding that lists suspects
PAIRS = 24  # pairs shown of a finding about pairs
ROW = 12  # images in a row of examples
ROWS = 6  # classes of which examples are shown
BARS = 40  # classes whose sizes are drawn

Place = tuple[str, int]


@dataclass(frozen=True)
class Shown:
    """One image: its number on the sheet (-1 where there is no room), what it is, and what is said below it."""

    number: int
    name: str
    label: str
    said: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images that belong to a finding.

    Attributes:
        style: ``"suspects"`` (each by itself), ``"pairs"`` (two and two) or ``"rows"`` (a heading and examples).
        groups: headings and images; a single group without a heading for suspects.
        more: how many others are in the list.
        box: a part of the image to mark, as CSS percentages (left, top, width, height).
    """

    style: str
    groups: tuple[tuple[str, tuple[Shown, ...]], ...]
    more: int = 0
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Pictures:
    """All of them: one sheet; a gallery, bars and a chart for each finding that has them, by the finding's place."""

    sheet: Sheet | None = None
    galleries: dict[int, Gallery] = field(default_factory=dict)
    bars: dict[int, tuple[tuple[str, int, float], ...]] = field(default_factory=dict)
    charts: dict[int, LineChart] = field(default_factory=dict)


def picture_findings(findings: Sequence[Finding], dataset: Dataset) -> Pictures:
    """Choose the images that show each finding, and draw them on one sheet.

    Args:
        findings: of a diagnosis, worst first: the first ones have the first right to room on the sheet.
        dataset: the images that they are about.
    """
    planned = {place: plan for place, finding in enumerate(findings) if (plan := _plan(finding, dataset))}
    places = list(dict.fromkeys(each for plan in planned.values() for _, group in plan[1] for each, _ in group))
    bars = {place: drawn for place, finding in enumerate(findings) if (drawn := _bars(finding))}
    if not places:
        return Pictures(bars=bars)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    rows = np.array([splits[name].rows[position] for name, position in places])
    joint = Split("all", dataset.train.images, rows, np.zeros(len(rows), np.int64))
    sheet = make_sheet(joint, np.arange(len(rows)))
    numbers = {place: number for number, place in enumerate(places[: sheet.count])}
    galleries = {}
    for place, (style, groups, more, box) in planned.items():
        shown = tuple(
            (heading, tuple(_shown(each, said, numbers, splits, dataset) for each, said in group))
            for heading, group in groups
        )
        galleries[place] = Gallery(style, shown, more, box)
    return Pictures(sheet, galleries, bars)


def _shown(place: Place, said: str, numbers: dict[Place, int], splits: dict[str, Split], dataset: Dataset) -> Shown:
    name, position = place
    file = splits[name].file(position) or f"{name} image {position}"
    return Shown(numbers.get(place, -1), file, dataset.classes[splits[name].labels[position]], said)


Group = tuple[str, list[tuple[Place, str]]]
Plan = tuple[str, list[Group], int, tuple[float, float, float, float] | None]


def _plan(finding: Finding, dataset: Dataset) -> Plan | None:
    """What to show of a finding; None where there is nothing to see."""
    evidence = finding.evidence
    if finding.kind == "wrong_labels":
        suspects = evidence["suspects"]
        chosen = [((s[0], s[1]), "" if s[2] is None else dataset.classes[s[2]]) for s in suspects[:SUSPECTS]]
        return "suspects", [("", chosen)], max(0, len(suspects) - SUSPECTS), None
    if finding.kind in ("leaked_test_images", "contradictory_duplicates"):
        pairs = evidence["pairs"]
        groups: list[Group] = [("", [((s, p), s) for s, p in pair]) for pair in pairs[:PAIRS]]
        return "pairs", groups, max(0, len(pairs) - PAIRS), None
    if finding.kind == "shortcut":
        height, width = dataset.image_size
        return "rows", list(_by_class(dataset, range(len(dataset.classes)))), 0, _box(evidence["box"], height, width)
    if finding.kind == "indistinct_classes":
        wanted = [dataset.classes.index(name) for name in evidence["classes"]]
        return "rows", list(_by_class(dataset, wanted)), 0, None
    if finding.kind in ("distribution_shift", "pixel_scale"):
        return "rows", [_sample(dataset.train, "training images"), _sample(dataset.test, "test images")], 0, None
    if finding.kind in ("failing_class", "collapsed_predictions") and finding.images.get("val"):
        chosen = [(("val", position), "") for position in finding.images["val"] if position < len(dataset.val)]
        heading = f"Validation images of {evidence['class']} that it missed"
        if finding.kind == "collapsed_predictions":
            heading = f"Called {evidence['class']}, but are not"
        return "rows", [(heading, chosen)], 0, None
    return None


def _by_class(dataset: Dataset, classes: Sequence[int]) -> Iterator[Group]:
    for label in list(classes)[:ROWS]:
        members = np.flatnonzero(dataset.train.labels == label)
        random = np.random.default_rng(0)
        chosen = np.sort(random.permutation(members)[:ROW]).tolist()
        yield dataset.classes[label], [(("train", position), "") for position in chosen]


def _sample(split: Split, heading: str) -> Group:
    chosen = np.sort(np.random.default_rng(0).permutation(len(split))[: 2 * ROW]).tolist()
    return heading, [((split.name, position), "") for position in chosen]


def _box(box: Sequence[int], height: int, width: int) -> tuple[float, float, float, float]:
    top, left, bottom, right = box
    return 100 * left / width, 100 * top / height, 100 * (right - left) / width, 100 * (bottom - top) / height


def _bars(finding: Finding) -> tuple[tuple[str, int, float], ...]:
    """Name, number of images, and its share of the largest class, smallest first; of findings about class sizes."""
    counts: dict[str, Any] = finding.evidence.get("counts") or {}
    most = max(counts.values(), default=0)
    ordered = sorted(counts.items(), key=lambda item: item[1])
    return tuple((name, count, count / most) for name, count in ordered[:BARS]) if most else ()
