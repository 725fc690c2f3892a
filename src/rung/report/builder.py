"""``report.html`` of a run: gathers what the run folder holds and fills the page."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rung.data.dataset import Dataset
from rung.diagnosis.finding import Finding
from rung.errors import RunError
from rung.evaluation.result import Evaluation
from rung.report import charts, confusion, text, verdict
from rung.report.evidence import chart_findings
from rung.report.examples import Examples, Predictions, choose
from rung.report.findings import Pictures, picture_findings
from rung.report.page import render
from rung.report.sprites import Sheet, capacity, make_sheet
from rung.runs import FINDINGS, REPORT, Epoch, Run

PAIRS = 8  # most confused pairs shown
POINTS = 400  # points a curve keeps
NAMELESS = 600  # examples named when there are no images to show
UNREADABLE = 200  # files listed
PATH = 80  # characters of a file's path shown
STAGES = ("start", "data", "planning", "training", "evaluation", "report")


def build_report(run: Run, dataset: Dataset | None) -> Path:
    """Write the report of a run into its folder.

    Args:
        run: the run; of its files only ``run.json`` must exist, the report has the sections of those that do.
        dataset: where the test images are, or None: then the report names them instead of showing them.

    Returns:
        The path of ``report.html``: one file under 3 MB that refers to nothing outside itself.

    Raises:
        RunError: a file of the run is damaged, or the folder cannot be written to.
    """
    run.write_text(REPORT, render("run.html.jinja", **_context(run, dataset)))
    return run.path / REPORT


def _context(run: Run, dataset: Dataset | None) -> dict[str, Any]:
    """Everything that ``run.html.jinja`` names."""
    info, findings = run.info, _findings(run)
    data, plan = _part(info, "data"), _part(info, "plan")
    outcome, timings = _part(info, "outcome"), _part(info, "timings")
    evaluation = _if_there(lambda: run.evaluation)
    predictions = _if_there(lambda: Predictions.read(run)) if evaluation else None
    if predictions and int(predictions.labels.max(initial=0)) >= len(evaluation.classes):
        predictions = None
    examples, sheet = _pictures(predictions, dataset)
    matrix = confusion.picture(evaluation) if evaluation else None
    confused = confusion.triples(evaluation) if evaluation else []
    pairs = confusion.pairs(evaluation, confused[:PAIRS]) if evaluation else ()
    script: dict[str, Any] = {"classes": list(evaluation.classes) if evaluation else []}
    if evaluation:
        script["support"] = [row.support for row in evaluation.per_class]
        script["confused"] = confused
    if predictions and examples:
        script |= _script_images(predictions, examples, dataset if sheet else None)
        script["columns"] = sheet.columns if sheet else 0
    learning = curves(run.history)
    if learning:
        script["curves"] = hover(run.history, learning)
    return {
        "title": str(info.get("name") or data.get("name") or run.path.name),
        "info": info,
        "data_info": data,
        "plan": plan,
        "outcome": outcome,
        "timings": timings,
        "evaluation": evaluation,
        "interrupted": info.get("status") not in (None, "finished", "running"),
        "verdict": (
            verdict.verdict(evaluation, _part(info, "recipe"), {finding.kind for finding in findings})
            if evaluation
            else ()
        ),
        "majority": verdict.majority(evaluation) if evaluation else None,
        "calibration": verdict.calibration(evaluation) if evaluation else "",
        "smoothed": bool(_part(info, "recipe").get("label_smoothing")),
        "pruned": bool(_part(info, "recipe").get("pruning")),
        "curves": learning,
        "matrix": matrix,
        "pairs": pairs,
        "opened": (pairs[0].true, pairs[0].said) if pairs else (0, 0),
        "predictions": predictions,
        "examples": examples,
        "sheet": sheet,
        "comparison": _plan_against_outcome(evaluation, plan, outcome, timings),
        "expected": _expected(plan),
        **_stages(_part(plan, "expected_seconds"), timings),
        "data_rows": _data_rows(data),
        "stands_on": verdict.stands_on(_part(info, "recipe")),
        "folds": _folds(_part(info, "folds")),
        "recipe": _flat(_part(info, "recipe")),
        "machine": _flat(_part(info, "hardware")),
        "versions": _flat(_part(info, "versions")),
        "unreadable": list(data.get("unreadable") or ())[:UNREADABLE],
        "unreadable_count": len(data.get("unreadable") or ()),
        "findings": findings,
        "pictured": _pictured(findings, run, dataset),
        "data": script,
    }


def _folds(found: Mapping[str, Any]) -> str:
    """What a cross-validation said, a sentence or two; empty where there was none."""
    try:
        (low, high), doubled = found["interval"], found["doubled"]
        least, most = doubled["interval"]
        return (
            f"Cross-validated on all {found['images']:,} images in {found['folds']} parts, each judged by heads that "
            f"had not seen it: {found['accuracy']:.1%}, 95 % interval {low:.1%} to {high:.1%}. With twice the images "
            f"expect {doubled['accuracy']:.1%}; nine of ten cases lie between {least:.1%} and {most:.1%}."
        )
    except (KeyError, TypeError, ValueError):
        return ""


def _part(info: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of run.json; empty where it is missing, so older and interrupted runs can be shown."""
    part = info.get(name)
    return part if isinstance(part, dict) else {}


def _if_there(read: Any) -> Any:
    try:
        return read()
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _pictures(predictions: Predictions | None, dataset: Dataset | None) -> tuple[Examples | None, Sheet | None]:
    if predictions is None or len(predictions) == 0:
        return None, None
    if dataset is None or int(predictions.indices.max()) >= len(dataset.test):
        return choose(predictions, NAMELESS), None
    examples = choose(predictions, capacity(dataset.test))
    sheet = make_sheet(dataset.test, predictions.indices[examples.rows])
    return examples.first(sheet.count), sheet


def _script_images(predictions: Predictions, examples: Examples, dataset: Dataset | None) -> dict[str, Any]:
    """What the page's script tells about each image, in the order of the sheet, and which belong to a pair."""
    rows = examples.rows
    columns = (
        predictions.indices[rows],
        predictions.labels[rows],
        predictions.predicted[rows],
        (predictions.confidence[rows] * 1000).round().astype(int),
    )
    found: dict[str, Any] = {
        "images": [list(image) for image in zip(*(column.tolist() for column in columns), strict=True)],
        "cells": {f"{true}-{said}": list(places) for (true, said), places in examples.cells.items()},
    }
    if dataset is not None and dataset.test.files is not None:
        names = (dataset.test.file(index) or "" for index in columns[0].tolist())
        found["files"] = [name if len(name) <= PATH else "…" + name[-PATH:] for name in names]
    return found


def curves(history: Sequence[Epoch]) -> dict[str, charts.LineChart]:
    """The charts of a training: accuracy, loss and learning rate; none before the first epoch has ended."""
    history = _thinned(history)
    if not history:
        return {}
    x = [row.epoch for row in history]
    accuracies = [row.train_accuracy for row in history] + [row.val_accuracy for row in history]
    # An axis from 0 hides what the last epochs did; one from the worst value on shows the whole climb.
    low = 0.0 if min(accuracies) < 0.5 else 0.5 if min(accuracies) < 0.9 else 0.9
    return {
        "accuracy": charts.line_chart(
            "Accuracy, %",
            "accuracy",
            x,
            [
                charts.Series("training", "train", [row.train_accuracy for row in history]),
                charts.Series("validation", "val", [row.val_accuracy for row in history]),
            ],
            low=low,
            high=1.0,
            percent=True,
        ),
        "loss": charts.line_chart(
            "Loss, nats",
            "loss",
            x,
            [
                charts.Series("training", "train", [row.train_loss for row in history]),
                charts.Series("validation", "val", [row.val_loss for row in history]),
            ],
            low=0.0,
        ),
        "rate": charts.line_chart(
            "Learning rate",
            "rate",
            x,
            [charts.Series("learning rate", "rate", [row.learning_rate for row in history])],
            low=0.0,
            height=110,
        ),
    }


def _thinned(history: Sequence[Epoch]) -> Sequence[Epoch]:
    if len(history) <= POINTS:
        return history
    step = -(-len(history) // POINTS)
    return [*history[:-1:step], history[-1]]


def hover(history: Sequence[Epoch], learning: Mapping[str, charts.LineChart]) -> dict[str, Any]:
    """The values that the script reads out under the pointer."""
    rows = _thinned(history)

    def short(values: Sequence[float]) -> list[float | None]:
        return [float(f"{value:.4g}") if value == value and abs(value) != float("inf") else None for value in values]

    return {
        "x": list(learning["loss"].hover),
        "epoch": short([row.epoch for row in rows]),
        "seconds": short([row.seconds for row in rows]),
        "accuracy": [short([r.train_accuracy for r in rows]), short([r.val_accuracy for r in rows])],
        "loss": [short([r.train_loss for r in rows]), short([r.val_loss for r in rows])],
        "rate": [short([r.learning_rate for r in rows])],
    }


def _expected(plan: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """The accuracy that the plan expected, with the ends of its interval."""
    accuracy, interval = plan.get("expected_accuracy"), plan.get("expected_accuracy_interval")
    if accuracy is None or not interval or len(interval) != 2:
        return None
    return float(accuracy), float(interval[0]), float(interval[1])


def _plan_against_outcome(
    evaluation: Evaluation | None, plan: Mapping[str, Any], outcome: Mapping[str, Any], timings: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Rows of (what, planned, happened), those of which something is known."""
    seconds = plan.get("expected_seconds") or {}
    expected = _expected(plan)
    total = timings.get("total") or (evaluation.wall_seconds if evaluation else None)
    accuracy = (
        f"{text.percent(expected[0])} ({text.percent(expected[1])} to {text.percent(expected[2])})"
        if expected
        else None
    )
    rate = outcome.get("images_per_second") or (evaluation.images_per_second if evaluation else None)
    rows: list[tuple[str, str | None, str | None]] = [
        ("Test accuracy", accuracy, text.percent(evaluation.accuracy) if evaluation else None),
        ("Whole command", _known(plan.get("budget"), text.duration), _known(total, text.duration)),
    ]
    for stage in STAGES:
        planned = _known(seconds.get(stage), text.duration)
        rows.append((stage.capitalize(), planned, _known(timings.get(stage), text.duration)))
    rows += [
        ("Epochs", _known(plan.get("epochs"), text.count), _known(outcome.get("epochs"), text.count)),
        ("Steps", _known(plan.get("steps"), text.count), _known(outcome.get("steps"), text.count)),
        ("Training images a second", None, _known(rate, text.number)),
    ]
    return [
        (what, planned or text.DASH, happened or text.DASH) for what, planned, happened in rows if planned or happened
    ]


def _stages(planned: Mapping[str, Any], timings: Mapping[str, Any]) -> dict[str, Any]:
    """Where the seconds were to go and where they went: (name, [(stage, seconds)], total) of each that is known."""
    bars = []
    for name, seconds in (("planned", planned), ("happened", timings)):
        parts = [(stage, float(seconds[stage])) for stage in STAGES if seconds.get(stage)]
        if parts:
            bars.append((name, parts, sum(length for _, length in parts)))
    used = {stage for _, parts, _ in bars for stage, _ in parts}
    return {
        "stages": bars,
        "longest": max((total for _, _, total in bars), default=1.0),
        "stage_names": [stage for stage in STAGES if stage in used],
    }


def _data_rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    images, size = _part(data, "images"), data.get("image_size")
    colour = {1: "grey", 3: "colour"}.get(data.get("channels", 0), "")
    rows = [
        ("name", _known(data.get("name"), str)),
        ("read from", _known(data.get("origin"), str)),
        ("classes", text.count(len(data["classes"])) if data.get("classes") else None),
        ("training images", _known(images.get("train"), text.count)),
        ("validation images", _known(images.get("val"), text.count)),
        ("test images", _known(images.get("test"), text.count)),
        ("image size", f"{size[1]} × {size[0]} pixels, {colour}".rstrip(", ") if size else None),
    ]
    return [(name, value) for name, value in rows if value]


def _known(value: Any, shown: Any) -> str | None:
    return None if value is None else str(shown(value))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) for a table, parts of parts in rows of their own, underscores as spaces."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        spoken = prefix + str(name).replace("_", " ")
        rows += _flat(value, f"{spoken} ") if isinstance(value, dict) and value else [(spoken, text.humanise(value))]
    return rows


def _findings(run: Run) -> tuple[Finding, ...]:
    """The diagnosis, where the run has one; what is not a finding, of another version perhaps, is left out."""
    found = _if_there(lambda: run.read_json(FINDINGS))
    if isinstance(found, dict):
        found = found.get("findings")
    readable = []
    for values in found if isinstance(found, list) else ():
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            readable.append(Finding.from_dict(values))
    return tuple(readable)


def _pictured(findings: Sequence[Finding], run: Run, dataset: Dataset | None) -> Pictures:
    pictures = picture_findings(findings, dataset) if dataset is not None else Pictures()
    return replace(pictures, charts=chart_findings(findings, run.history, run.recordings))
