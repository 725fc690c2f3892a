"""The model card: what a model is, how good it is and what it is not for, without a word about the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from rung.errors import RunError
from rung.runs import FINDINGS, Run
from rung.serving.predictor import Predictor

# Where a path begins: not within a word, a relative path or an address.
_BEGINNING = r"(?<![\w.~:/\\-])"
_ROOT = r"(?:file:|[A-Za-z]:)?[\\/]+"
# Separators come doubled from repr(). Only within quotation marks can a blank be told to belong to a path.
_FOLDERS = re.compile(rf"{_BEGINNING}{_ROOT}(?:[^\\/\s'\"`]+[\\/]+)+")
_QUOTED_FOLDERS = re.compile(rf"(?<=['\"`]){_ROOT}(?:[^\\/\n'\"`]+[\\/]+)+")


def without_folders(text: str, known: Iterable[str] = ()) -> str:
    """``text`` with the last part of each absolute path in it in the place of the whole.

    Args:
        text: what may have paths in it.
        known: paths that it may have, see :func:`known_paths`: they are recognised whatever characters they have.
    """
    for path in sorted(known, key=len, reverse=True):
        separators = r"[\\/]+".join(map(re.escape, re.split(r"[\\/]+", path)))
        name = "~" if path == str(Path.home()) else re.split(r"[\\/]+", path)[-1]
        # Of a path below it, the pattern for all paths then takes the rest.
        text = re.sub(rf"{_BEGINNING}{separators}(?=[\\/])", "/_", text)
        text = re.sub(rf"{_BEGINNING}{separators}(?![\w-]|\.\w)", name, text)
    return _FOLDERS.sub("", _QUOTED_FOLDERS.sub("", text))


def known_paths(run: Run) -> list[str]:
    """The absolute paths that texts of the run may name: its own, its data's, the user's."""
    info = run.info
    given = (_part(info, "settings").get("data"), _part(info, "data").get("origin"), run.path.absolute(), Path.home())
    paths = {str(path).rstrip("\\/") for path in given if path}
    return [path for path in paths if PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()]


def model_card(run: Run, predictor: Predictor) -> dict[str, Any]:
    """What ``GET /model`` answers; parts that the run does not have are left out.

    Raises:
        RunError: a file of the run is damaged.
    """
    info = run.info
    data, plan = _part(info, "data"), _part(info, "plan")
    height, width = predictor.image_size
    card: dict[str, Any] = {
        "name": predictor.name,
        "made_by": f"rung {info.get('rung', '')}".strip(),
        "created": info.get("created"),
        "task": "image classification",
        "classes": list(predictor.classes),
        "input": {"height": height, "width": width, "channels": predictor.channels},
        "network": plan.get("network"),
        "parameters": plan.get("parameters"),
        "training_data": {
            "name": without_folders(str(data.get("name", "")), known_paths(run)),
            "images": data.get("images"),
            "fingerprint": data.get("fingerprint"),
        },
        "metrics": _metrics(run),
        "findings": findings(run),
        "limits": (
            "It knows these classes and no other: whatever an image shows, it names one of them. The metrics are about "
            "images like those of its test split."
        ),
    }
    return {name: value for name, value in card.items() if value is not None}


def findings(run: Run) -> list[dict[str, str]]:
    """What the diagnosis of the run found: kind, severity, statement and remedy of each."""
    try:
        found = run.read_json(FINDINGS)
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    if isinstance(found, dict):
        found = found.get("findings")
    known = known_paths(run)

    def shown(value: Any) -> str:
        return without_folders(str(value or ""), known)

    return [
        {
            **{name: shown(finding.get(name)) for name in ("kind", "severity", "statement")},
            "remedy": shown(_part(finding, "remedy").get("text")),
        }
        for finding in found or ()
        if isinstance(finding, dict)
    ]


def _metrics(run: Run) -> dict[str, Any] | None:
    try:
        evaluation = run.evaluation
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    return {
        "test_images": evaluation.test_images,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": list(evaluation.accuracy_interval),
        "top5_accuracy": evaluation.top5_accuracy,
        "macro_f1": evaluation.macro_f1,
        "log_loss": evaluation.log_loss,
        "expected_calibration_error": evaluation.expected_calibration_error,
        "per_class": [
            {"class": row.name, "precision": row.precision, "recall": row.recall, "f1": row.f1, "images": row.support}
            for row in evaluation.per_class
        ],
    }


def _part(info: dict[str, Any], name: str) -> dict[str, Any]:
    part = info.get(name)
    return part if isinstance(part, dict) else {}
