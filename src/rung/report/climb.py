"""``report.html`` of a climb: the staircase, what each idea did, and what each model learnt to get right."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rung.data.dataset import Dataset
from rung.report import charts
from rung.report.architecture import Architecture, architecture
from rung.report.page import render
from rung.report.sprites import Sheet, make_sheet
from rung.report.verdict import stands_on
from rung.runs import REPORT, Run
from rung.storage import write_atomically

if TYPE_CHECKING:
    from rung.ladder.folder import Climb
    from rung.ladder.results import StepResult

Ticks = tuple[charts.Tick, ...]
LEARNT = 12  # images shown that a step gets right and the one below it does not
CLASSES = 30  # up to so many, confusion matrices are drawn
WIDTH, HEIGHT = 960, 330  # of the staircase
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 18, 34


@dataclass(frozen=True)
class Tread:
    """One step of the staircase, in SVG units; ``low`` and ``high`` are the ends of the validation interval."""

    name: str
    x: float
    width: float
    train: float
    val: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class Staircase:
    """Training and validation accuracy, step by step."""

    treads: tuple[Tread, ...]
    ticks: tuple[charts.Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Point:
    """A step in the picture of weights against accuracy."""

    name: str
    x: float
    y: float
    low: float
    high: float
    anchor: str
    label: float


def build_climb_report(climb: Climb, dataset: Dataset | None) -> Path:
    """Write the report of a climb into its folder.

    Args:
        climb: with at least one finished run, or none: then the report says so.
        dataset: where the test images are, or None: then the report shows none.

    Returns:
        The path of ``report.html``: one file that refers to nothing outside itself.

    Raises:
        RunError: a file of a run is damaged, or the folder cannot be written to.
    """
    path = climb.path / REPORT
    write_atomically(path, render("climb.html.jinja", **_context(climb, dataset)).encode())
    return path


def _context(climb: Climb, dataset: Dataset | None) -> dict[str, Any]:
    steps = climb.steps
    runs = {step.name: climb.runs(step.name) for step in steps}
    judged = bool(steps) and all(step.test_accuracy is not None for step in steps)
    learnt, sheet = _learnt(steps, runs, dataset) if judged else ({}, None)
    ranked = sorted(steps, key=lambda step: -step.val_accuracy)
    data = climb.info["data"]
    return {
        "title": str(climb.info["name"]),
        "climb": climb,
        "info": climb.info,
        "mode": climb.info["settings"]["mode"],
        "data_info": data,
        "steps": steps,
        "best": ranked[0] if ranked else None,
        "stands_on": stands_on(runs[ranked[0].name][0].info.get("recipe", {})) if ranked else "",
        "judged": judged,
        "summary": _summary(steps, climb.info["settings"]["mode"]),
        "staircase": _staircase(steps) if steps else None,
        "pictures": {step.name: _picture(runs[step.name][0], data) for step in steps},
        "curves": _curves(steps, runs),
        "points": _points(steps) if len(steps) > 1 else (),
        "matrices": _matrices(steps, runs) if judged else {},
        "learnt": learnt,
        "sheet": sheet,
        "worth": _worth(steps) if climb.info["settings"]["mode"] == "down" else (),
        "entries": climb.entries(),
    }


def _summary(steps: tuple[StepResult, ...], mode: str) -> str:
    """What helped and what did not, in a sentence or two."""
    compared = [step for step in steps if step.change is not None]
    single = [step.name for step in compared if step.change and step.change.scope == "images"]
    note = f" With one seed, this is about the networks trained here ({_listed(single)})." if single else ""
    if mode == "down":
        matters = [step.name for step in compared if step.change and step.change.distinguishable]
        rest = [step.name for step in compared if step.name not in matters]
        said = (
            f"Measurably different without: {_listed(matters)}. "
            if matters
            else "Nothing made a measurable difference. "
        )
        return (said + (f"No more than chance: {_listed(rest)}." if rest else "")).strip() + note
    helped = [step.name for step in compared if step.helped]
    harmed = [step.name for step in compared if step.change and step.change.distinguishable and not step.helped]
    nothing = [step.name for step in compared if step.name not in helped and step.name not in harmed]
    sentences = [
        f"{_listed(helped)} measurably helped." if helped else "No idea measurably helped.",
        f"{_listed(harmed)} cost accuracy." if harmed else "",
        f"{_listed(nothing)} changed it by no more than chance." if nothing else "",
    ]
    said = " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences if sentence)
    return said + note if compared else ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _staircase(steps: tuple[StepResult, ...]) -> Staircase:
    values = [value for step in steps for value in (step.train_accuracy, *step.val_interval)]
    low = max(0.0, np.floor((min(values) - 0.03) * 10) / 10)
    high = min(1.0, np.ceil((max(values) + 0.01) * 20) / 20)

    def down(value: float) -> float:
        return round(float(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP)), 1)

    width = (WIDTH - LEFT - RIGHT) / len(steps)
    treads = tuple(
        Tread(
            step.name,
            round(LEFT + number * width, 1),
            round(width, 1),
            down(step.train_accuracy),
            down(step.val_accuracy),
            down(step.val_interval[0]),
            down(step.val_interval[1]),
            f"{step.name}: training {step.train_accuracy:.1%}, validation {step.val_accuracy:.1%} "
            f"({step.val_interval[0]:.1%} to {step.val_interval[1]:.1%})",
        )
        for number, step in enumerate(steps)
    )
    return Staircase(
        treads, tuple(charts.Tick(down(value), charts.label(value, True)) for value in charts.ticks(low, high, 6))
    )


def _picture(run: Run, data: dict[str, Any]) -> Architecture | None:
    try:
        height, width = data["image_size"]
        return architecture(run.info["recipe"], (height, width), data["channels"], len(data["classes"]))
    except (KeyError, TypeError, ValueError):
        return None


def _curves(steps: tuple[StepResult, ...], runs: dict[str, list[Run]]) -> dict[str, charts.LineChart]:
    """Learning curves of the first seed of each step, all on the same axes."""
    histories = {step.name: runs[step.name][0].history for step in steps}
    histories = {name: history for name, history in histories.items() if history}
    if not histories:
        return {}
    every = [row for history in histories.values() for row in history]
    low = max(0.0, float(np.floor(min(min(row.val_accuracy, row.train_accuracy) for row in every) * 10) / 10))
    drawn = {}
    for name, history in histories.items():
        drawn[name] = charts.line_chart(
            name,
            "climb",
            [row.seconds for row in history],
            [
                charts.Series("training", "train", [row.train_accuracy for row in history]),
                charts.Series("validation", "val", [row.val_accuracy for row in history]),
            ],
            x_label="second",
            low=low,
            high=1.0,
            percent=True,
            height=190,
        )
    return drawn


def _points(steps: tuple[StepResult, ...]) -> tuple[tuple[Point, ...], Ticks, Ticks]:
    """Weights (logarithmic) against validation accuracy, and the ticks of both axes."""
    sizes = [np.log10(max(step.parameters, 1)) for step in steps]
    left, right = float(np.floor(min(sizes) * 2) / 2), float(np.ceil(max(sizes) * 2 + 0.01) / 2)
    accuracies = [value for step in steps for value in step.val_interval]
    low, high = float(np.floor(min(accuracies) * 20) / 20), float(np.ceil(max(accuracies) * 20) / 20)
    width, height = 560, 320

    def across(value: float) -> float:
        return round(float(44 + (value - left) / (right - left) * (width - 64)), 1)

    def down(value: float) -> float:
        return round(float(height - 30 - (value - low) / (high - low) * (height - 46)), 1)

    labels = _apart([down(step.val_accuracy) for step in steps])
    points = tuple(
        Point(
            step.name,
            across(size),
            down(step.val_accuracy),
            down(step.val_interval[0]),
            down(step.val_interval[1]),
            "end" if across(size) > width * 0.75 else "start",
            label,
        )
        for step, size, label in zip(steps, sizes, labels, strict=True)
    )
    powers = range(int(np.ceil(left)), int(right) + 1)
    names = {3: "1 k", 4: "10 k", 5: "100 k", 6: "1 M", 7: "10 M", 8: "100 M"}
    x_ticks = tuple(charts.Tick(across(power), names.get(power, f"1e{power}")) for power in powers)
    y_ticks = tuple(charts.Tick(down(value), charts.label(value, True)) for value in charts.ticks(low, high, 6))
    return points, x_ticks, y_ticks


def _apart(places: list[float], least: float = 14.0) -> list[float]:
    """The places, moved down where two would be nearer than ``least``: names that do not lie on each other."""
    moved = list(places)
    order = sorted(range(len(places)), key=lambda index: places[index])
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved


def _matrices(steps: tuple[StepResult, ...], runs: dict[str, list[Run]]) -> dict[str, list[list[tuple[float, int]]]]:
    """For each step the confusion matrix of its first seed: share of the true class, and count."""
    drawn = {}
    for step in steps:
        matrix = np.asarray(runs[step.name][0].evaluation.confusion_matrix)
        if len(matrix) > CLASSES:
            return {}
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        drawn[step.name] = [
            [(round(float(share), 3), int(count)) for share, count in zip(row, counts, strict=True)]
            for row, counts in zip(shares, matrix, strict=True)
        ]
    return drawn


def _learnt(
    steps: tuple[StepResult, ...], runs: dict[str, list[Run]], dataset: Dataset | None
) -> tuple[dict[str, list[tuple[int, str, str]]], Sheet | None]:
    """For each step some test images that all its seeds get right and all of the step below got wrong.

    Returns:
        By step: (place on the sheet, true class, what the step below said); and the sheet.
    """
    from rung.ladder.results import correct_on_test

    if dataset is None:
        return {}, None
    chosen: list[int] = []
    found: dict[str, list[tuple[int, str, str]]] = {}
    for step in steps:
        if step.below is None:
            continue
        mine, theirs = correct_on_test(runs[step.name]), correct_on_test(runs[step.below])
        if mine is None or theirs is None:
            continue
        gained = np.flatnonzero(mine.all(0) & ~theirs.any(0))
        gained = np.sort(np.random.default_rng(0).permutation(gained)[:LEARNT])
        said = runs[step.below][0].predictions.column("prediction").to_numpy()
        found[step.name] = [
            (len(chosen) + number, dataset.classes[dataset.test.labels[image]], dataset.classes[said[image]])
            for number, image in enumerate(gained.tolist())
        ]
        chosen += gained.tolist()
    if not chosen:
        return found, None
    sheet = make_sheet(dataset.test, np.asarray(chosen, np.int64))
    kept = {name: [item for item in items if item[0] < sheet.count] for name, items in found.items()}
    return kept, sheet


def _worth(steps: tuple[StepResult, ...]) -> list[StepResult]:
    """What was taken away, the most missed first."""
    return sorted(
        (step for step in steps if step.change is not None),
        key=lambda step: step.change.difference if step.change else 0.0,
    )
