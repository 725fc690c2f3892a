"""The model card: what a model is, how good it is and what it is not for, without a word about the machine."""

from __future__ import annotations

import re
from typing import Any

from rung.errors import RunError
from rung.runs import FINDINGS, Run
from rung.serving.predictor import Predictor

_FOLDERS = re.compile(r"(?<![\w.~:/\\-])(?:[A-Za-z]:)?[\\/](?:[^\\/\s'\"`]+[\\/])+")


def without_folders(text: str) -> str:
    """``text`` with the last part of each absolute path in it in the place of the whole."""
    return _FOLDERS.sub("", text)


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
            "name": without_folders(str(data.get("name", ""))),
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
    return [
        {name: without_folders(str(finding.get(name) or "")) for name in ("kind", "severity", "statement", "remedy")}
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
