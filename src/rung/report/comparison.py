"""The page that shows runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rung.report import text
from rung.report.page import render
from rung.report.sprites import Sheet, capacity, make_sheet
from rung.storage import write_atomically

if TYPE_CHECKING:
    from rung.data.dataset import Dataset
    from rung.evaluation.compared import Against, Comparison
    from rung.evaluation.comparison import PairedDifference
    from rung.runs import Run

PICTURES = 16  # images shown that only one of two gets right, of either
SETTINGS = 40  # differing settings listed


@dataclass(frozen=True)
class Whisker:
    """A difference and its interval on a common scale: shares of the width, from 0 to 1."""

    name: str
    note: str
    at: float
    low: float
    high: float
    shown: str
    better: int  # 1, -1, or 0 where the interval holds no difference


@dataclass(frozen=True)
class Whiskers:
    """Differences under each other; ``zero`` is where no difference lies."""

    rows: tuple[Whisker, ...]
    zero: float


def whiskers(rows: Sequence[tuple[str, str, PairedDifference]]) -> Whiskers:
    """Lay out differences in accuracy, each with a name and a note."""
    low = min(0.0, *(one.interval[0] for _, _, one in rows))
    high = max(0.0, *(one.interval[1] for _, _, one in rows))
    pad = max(high - low, 1e-3) * 0.04
    low, span = low - pad, high - low + 2 * pad

    def share(value: float) -> float:
        return (value - low) / span

    return Whiskers(
        tuple(
            Whisker(
                name,
                note,
                share(one.difference),
                share(one.interval[0]),
                share(one.interval[1]),
                f"{signed(one.difference)} ({signed(one.interval[0])} to {signed(one.interval[1])})",
                (1 if one.difference > 0 else -1) if one.distinguishable else 0,
            )
            for name, note, one in rows
        ),
        share(0.0),
    )


def signed(share: float | None, digits: int = 1) -> str:
    """A difference of two shares in percentage points, with its sign: -0.019 → "−1.9"."""
    if share is None:
        return text.DASH
    shown = f"{abs(share) * 100:.{digits}f}"
    return shown if float(shown) == 0 else ("+" if share > 0 else "−") + shown


def sentence(one: Against, first: str) -> str:
    """What a comparison says, for people."""
    low, high = one.accuracy.interval
    interval = f"95 % interval {signed(low)} to {signed(high)}"
    if not one.accuracy.distinguishable:
        return (
            f"“{one.name}” and “{first}” cannot be told apart on these {text.count(one.accuracy.images)} images: "
            f"{signed(one.accuracy.difference)} points ({interval})."
        )
    better = "more" if one.accuracy.difference > 0 else "less"
    return (
        f"“{one.name}” is {text.points(one.accuracy.difference)} points {better} accurate than “{first}” ({interval})."
    )


def build_comparison(path: Path, comparison: Comparison, runs: Sequence[Run], dataset: Dataset | None) -> None:
    """Write the page.

    Args:
        path: of the file.
        comparison: what it shows.
        runs: the runs compared.
        dataset: where the test images are, or None: then the page names them by their numbers.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(path, render("comparison.html.jinja", **_context(comparison, runs, dataset)).encode())


def _context(comparison: Comparison, runs: Sequence[Run], dataset: Dataset | None) -> dict[str, Any]:
    sections = [(one, one.gained[:PICTURES], one.lost[:PICTURES]) for one in comparison.against]
    positions = list(dict.fromkeys(p for _, gained, lost in sections for p in (*gained, *lost)))
    sheet: Sheet | None = None
    if dataset is not None and positions and max(positions) < len(dataset.test):
        positions = positions[: capacity(dataset.test)]
        sheet = make_sheet(dataset.test, np.array(positions, np.int64))
        positions = positions[: sheet.count]
    first = comparison.runs[0].name
    return {
        "comparison": comparison,
        "first": first,
        "sentences": [sentence(one, first) for one in comparison.against],
        "overall": whiskers([(one.name, _note(one.accuracy), one.accuracy) for one in comparison.against]),
        "by_class": [
            whiskers(
                [
                    (
                        row.name,
                        f"{text.percent(row.recall.accuracy_a)} → {text.percent(row.recall.accuracy_b)}",
                        row.recall,
                    )
                    for row in sorted(one.classes, key=lambda row: -row.recall.difference)
                ]
            )
            for one in comparison.against
        ],
        "real": [[row.name for row in one.classes if row.p_value < 0.05] for one in comparison.against],
        "sections": sections,
        "sheet": sheet,
        "places": {position: number for number, position in enumerate(positions)},
        "answers": [_answers(run) for run in runs],
        "labels": _labels(runs[0]),
        "classes": runs[0].evaluation.classes,
        "reliability": [run.evaluation.reliability for run in runs],
        "commands": [str(run.info.get("command") or "") for run in runs],
        "most_settings": SETTINGS,
        "signed": signed,
    }


def _note(difference: PairedDifference) -> str:
    return f"{text.percent(difference.accuracy_a)} → {text.percent(difference.accuracy_b)}"


def _answers(run: Run) -> dict[int, tuple[int, float]]:
    """For each test image, by its position: the predicted class and its probability."""
    table = run.predictions
    sure = (max(row) for row in table.column("probabilities").to_pylist())
    columns = (table.column("index").to_pylist(), table.column("prediction").to_pylist(), sure)
    return {index: (said, p) for index, said, p in zip(*columns, strict=True)}


def _labels(run: Run) -> dict[int, int]:
    table = run.predictions
    return dict(zip(table.column("index").to_pylist(), table.column("label").to_pylist(), strict=True))
