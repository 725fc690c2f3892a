"""What ``run.json`` says about a training before it starts, and the lines about its data for people."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rung import __version__
from rung.data import Dataset
from rung.pipeline.settings import Settings
from rung.training.device import Machine
from rung.training.plan import Plan

_LIBRARIES = ("torch", "numpy", "pillow", "pyarrow", "scikit-learn", "safetensors")


def describe(
    settings: Settings, dataset: Dataset, plan: Plan, machine: Machine, timings: dict[str, float]
) -> dict[str, Any]:
    """The first content of ``run.json``: enough to run it again."""
    return {
        "rung": __version__,
        "status": "running",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": settings.command(),
        "settings": asdict(settings),
        "name": dataset.name,
        "seed": settings.seed,
        "data": {
            "name": dataset.name,
            "origin": dataset.origin,
            "fingerprint": dataset.fingerprint,
            "classes": list(dataset.classes),
            "images": {split.name: len(split) for split in dataset.splits},
            "image_size": list(dataset.image_size),
            "channels": dataset.channels,
            "unreadable": [asdict(file) for file in dataset.unreadable],
            "notes": list(dataset.notes),
        },
        "recipe": plan.recipe.to_dict(),
        "plan": plan.to_dict(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}},
        "hardware": {"system": platform.platform(), **machine.to_dict()},
        "timings": timings,
    }


def data_lines(dataset: Dataset) -> list[str]:
    """The data in a line or two."""
    height, width = dataset.image_size
    counts = ", ".join(f"{len(split):,} {split.name}" for split in dataset.splits)
    colour = "grey" if dataset.channels == 1 else "colour"
    lines = [
        f"Data: {dataset.name} from {dataset.origin}: {counts} images, "
        f"{len(dataset.classes)} classes, {width}×{height} {colour}"
    ]
    if dataset.unreadable:
        count = len(dataset.unreadable)
        lines.append(f"  {count:,} unreadable file{'s are' if count > 1 else ' is'} left out; run.json lists them")
    return lines


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "unknown"
