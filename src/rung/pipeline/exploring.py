"""``rung explore``: what is in a data set, as a page and as plain values."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import RunError
from rung.pipeline.settings import SPLIT_SEED
from rung.progress import SilentDisplay, TrainingDisplay
from rung.runs import REPORT
from rung.storage import write_atomically

if TYPE_CHECKING:
    from rung.exploration.survey import Survey

SUMMARY = "summary.json"


@dataclass(frozen=True, eq=False)
class Exploration:
    """What was found.

    Attributes:
        path: the folder with ``report.html`` and ``summary.json``.
        report: the page that shows it.
        survey: the figures themselves, with the images.
        seconds: that everything took.
    """

    path: Path
    report: Path
    survey: Survey
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """What ``summary.json`` holds: plain values, ready for JSON."""
        return {
            "exploration": str(self.path),
            "report": str(self.report),
            **self.survey.to_dict(),
            "total_seconds": round(self.seconds, 2),
        }


def explore(
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    seed: int = 0,
    display: TrainingDisplay | None = None,
    started: float | None = None,
) -> Exploration:
    """Look at labelled images before training on them.

    Counts, samples, mean images, pixel statistics, formats and sizes, a map, exact and near duplicates within and
    across splits, images to look at, and what preprocessing and augmentation will do.

    Args:
        data: a name or a path, as for :func:`rung.train`.
        out: the folder to make; by default ``explorations/NAME-DATE-TIME``.
        image_size: side in pixels to which the images are brought; by default kept if small and alike, else 64.
        seed: of the samples that are drawn.
        display: where progress is shown; by default nowhere.
        started: when time began to run, on :func:`time.monotonic`'s clock; by default now.

    Raises:
        UsageError: an argument is out of its range.
        DataError: the data cannot be used.
        RunError: the folder cannot be written to.
    """
    from rung.data import find_source, materialise
    from rung.exploration.survey import survey
    from rung.report.exploration import build_exploration_report

    started = time.monotonic() if started is None else started
    display = display or SilentDisplay()
    try:
        source = find_source(data, progress=display.progress)
        dataset = materialise(source, image_size=image_size, seed=SPLIT_SEED, progress=display.progress)
        folder = _make_folder(out, dataset.name)
        found = survey(source, dataset, seed=seed, progress=display.progress)
        display.progress("Writing the report", 0, None)
        page = build_exploration_report(found)
        write_atomically(folder / REPORT, page.encode("utf-8", "replace"))
        exploration = Exploration(folder, folder / REPORT, found, time.monotonic() - started)
        text = json.dumps(exploration.to_dict(), indent=1, ensure_ascii=True)
        write_atomically(folder / SUMMARY, (text + "\n").encode())
        return exploration
    finally:
        display.finish()


def _make_folder(out: str | os.PathLike[str] | None, name: str) -> Path:
    if out is not None:
        path = Path(out)
    else:
        stem = Path("explorations") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        path, number = stem, 1
        while path.exists():
            number += 1
            path = stem.with_name(f"{stem.name}-{number}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = any(path.iterdir())
    except OSError as error:
        raise RunError(
            f"cannot make the folder {path}: {error.strerror or error}; choose another with --out"
        ) from error
    if taken:
        raise RunError(f"the folder {path} is not empty; choose another with --out")
    return path
