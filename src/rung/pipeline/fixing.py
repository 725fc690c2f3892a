"""``rung train --fix``: train, diagnose, apply the remedy of the worst finding, train again, keep the better one."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.budget import format_duration
from rung.errors import RunError, RungError
from rung.pipeline.settings import Settings, check_settings
from rung.progress import SilentDisplay, TrainingDisplay
from rung.runs import EVALUATION, Run
from rung.torch_state import own_torch_state

if TYPE_CHECKING:
    from rung.diagnosis import Finding

FIXES = "fixes.json"
# Trainings at most; the share of the budget that each of two gets; and seconds below which no other one is begun.
ATTEMPTS, SHARE, LEAST_SECONDS = 3, 0.42, 5.0


def train_and_fix(
    data: str | os.PathLike[str] = "digits",
    budget: str | float | None = None,
    *,
    epochs: float | None = None,
    out: str | os.PathLike[str] | None = None,
    display: TrainingDisplay | None = None,
    started: float | None = None,
    **settings: Any,
) -> Run:
    """Train, apply the remedy of the worst finding that has one, and train again, while the budget lasts.

    Every training is judged on validation images. The test split is read once, for the one that is kept.

    Args:
        data, budget: as of :func:`rung.train`; the budget is for all trainings together.
        epochs: of the first training, instead of a budget; a remedy may change them.
        out: the folder to make, with a run folder ``attempt-N`` for each training and ``fixes.json``; by default
            ``runs/NAME-fix-DATE-TIME``.
        display: where progress is shown; by default nowhere.
        started: when the budget began to run, on :func:`time.monotonic`'s clock; by default now.
        settings: the other arguments of :func:`rung.train`.

    Returns:
        The run that is kept: the one with the best validation accuracy. Its ``info["fixes"]`` tells of the others.
        After an interrupt (Ctrl-C) no other training is begun, and its ``status`` here is ``"interrupted"``.

    Raises:
        UsageError, DataError, RunError: as of :func:`rung.train`.
    """
    started = time.monotonic() if started is None else started
    display = display or SilentDisplay()
    asked = {name: settings.pop(name, None) for name in ("image_size", "precision", "threads", "max_memory")}
    common = {"seed": 0, "device": "auto", **asked, **settings}
    whole = check_settings(data=data, budget=budget, epochs=epochs, **common)
    folder = _folder(whole, out)
    first = replace(whole, budget=None if whole.budget is None else SHARE * whole.budget)
    kept = _attempt(first, folder, 1, display, started)
    story = [{"run": kept.path.name, "val_accuracy": _accuracy(kept), "remedy": None, "finding": None}]
    tried: set[str] = set()
    current, number, latest = first, 1, kept
    while (
        latest.status != "interrupted" and number < ATTEMPTS and (choice := _remedy(kept, tried, current)) is not None
    ):
        left = None if whole.budget is None else whole.budget - (time.monotonic() - started)
        # What the test split and the report of the kept run take: about the rest that the first attempt has left.
        usable = None if left is None else min(first.budget or 0.0, left - 0.1 * (whole.budget or 0.0))
        if usable is not None and usable < LEAST_SECONDS:
            break
        finding, changes = choice
        tried.add(finding.kind)
        number += 1
        changed = replace(current, **changes)
        if usable is not None:
            changed = replace(changed, budget=usable)
        display.message(f"{finding.statement} {finding.remedy.text} Trying it:")
        try:
            latest = other = _attempt(changed, folder, number, display, time.monotonic())
        except RungError as error:
            display.message(f"That was not possible: {error}")
            continue
        better = _compared(kept, other, display)
        story.append(
            {
                "run": other.path.name,
                "val_accuracy": _accuracy(other),
                "remedy": dict(changes),
                "finding": finding.kind,
                "kept": better,
            }
        )
        if better:
            kept, current = other, replace(changed, budget=first.budget)
    _finish(kept, whole, folder, story, display, started)
    if latest.status == "interrupted":
        # Whoever called shall know, even where the run that is kept had come to its end: this is not written.
        kept.info = {**kept.info, "status": "interrupted"}
    return kept


def _folder(settings: Settings, out: str | os.PathLike[str] | None) -> Path:
    name = Path(settings.data).name or "data"
    folder = Path(out) if out is not None else Path("runs") / f"{name}-fix-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise RunError(
            f"cannot make the folder {folder}: {error.strerror or error}; choose another with --out"
        ) from error
    if taken:
        raise RunError(f"the folder {folder} is not empty; choose another with --out")
    return folder


def _attempt(settings: Settings, folder: Path, number: int, display: TrainingDisplay, started: float) -> Run:
    from rung.pipeline.training import attempt

    return attempt(settings, folder / f"attempt-{number}", display, started)


def _remedy(run: Run, tried: set[str], settings: Settings) -> tuple[Finding, Mapping[str, Any]] | None:
    """The worst finding whose remedy is a change of settings, and that change.

    With a budget, more time is not to be had: a remedy that asks for it is passed over. So is one that leaves out the
    images of a list which is not there, or which would take the place of the user's own.
    """
    from rung.diagnosis import diagnose_run

    for finding in diagnose_run(run):
        changes = dict(finding.remedy.settings)
        if "exclude" in changes and (settings.exclude or not Path(changes["exclude"]).is_file()):
            continue
        if settings.budget is not None:
            changes = {name: value for name, value in changes.items() if name not in ("budget", "epochs")}
        if changes and finding.kind not in tried and finding.severity != "note":
            return finding, changes
    return None


def _compared(before: Run, after: Run, display: TrainingDisplay) -> bool:
    """Whether the second run is better on the same validation images; says by how much."""
    from rung.evaluation.comparison import paired_difference

    one, other = before.recordings, after.recordings
    if one is None or other is None or one.val is None or other.val is None:
        return False
    right = [each.probabilities.argmax(1) == each.labels for each in (one.val, other.val)]
    difference = paired_difference(*right)
    low, high = difference.interval
    better = difference.difference > 0
    display.message(
        f"Validation accuracy {difference.accuracy_a:.1%} before, {difference.accuracy_b:.1%} after: "
        f"{100 * difference.difference:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f}); "
        f"the {'new' if better else 'old'} one is kept."
    )
    return better


def _accuracy(run: Run) -> float:
    recordings = run.recordings
    return recordings.val.accuracy if recordings is not None and recordings.val is not None else 0.0


@own_torch_state()
def _finish(
    run: Run, settings: Settings, folder: Path, story: list[dict[str, Any]], display: TrainingDisplay, started: float
) -> None:
    """Read the test split for the run that is kept, and write its report."""
    from rung.pipeline.afterwards import dataset_of, precision_of
    from rung.pipeline.judging import judge
    from rung.report import build_report
    from rung.storage import write_atomically
    from rung.training.device import choose_device
    from rung.training.threads import set_threads
    from rung.training.weights import load_classifier

    set_threads(settings.threads)
    run.update(fixes=story)
    dataset, recordings = dataset_of(run), run.recordings
    assert recordings is not None and recordings.train is not None and recordings.val is not None
    evaluation, probabilities = judge(
        load_classifier(run, choose_device(settings.device)),
        dataset,
        precision_of(run),
        seen=(recordings.train, recordings.val),
        seconds=run.history[-1].seconds if run.history else 0.0,
        wall_seconds=time.monotonic() - started,
        images_per_second=run.info["outcome"]["images_per_second"],
    )
    run.write_predictions(range(len(dataset.test)), dataset.test.labels, probabilities)
    run.write_json(EVALUATION, evaluation.to_dict())
    build_report(run, dataset)
    write_atomically(folder / FIXES, _json({"kept": run.path.name, "attempts": story}))
    # The trainings that were not kept are in it: they were what it took.
    taken = time.monotonic() - started
    run.write_json(EVALUATION, {**evaluation.to_dict(), "wall_seconds": taken})
    display.message(f"Kept: {run.path} ({format_duration(taken)})")


def _json(value: Any) -> bytes:
    import json

    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
