"""Invented runs: pictures and predictions drawn from a seeded generator, never shown as anybody's result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rung.data.dataset import Dataset, Split
from rung.evaluation.metrics import evaluate
from rung.runs import Epoch, Run

HOSTILE_NAMES = (
    '<img src=x onerror="alert(1)">',
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }} {% raw %}",
    '\u2028it\'s "quoted" & more<!--',
)


@pytest.fixture
def hostile() -> tuple[str, ...]:
    """Class names that would break out of markup, of inline JSON or of a template."""
    return HOSTILE_NAMES


def make_dataset(classes: tuple[str, ...], images: int, shape: tuple[int, int, int], files: bool = False) -> Dataset:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, *shape), dtype=np.uint8)
    labels = (np.arange(images) % len(classes)).astype(np.int64)
    names = [f"test/{classes[k]}/image {i}.png" for i, k in enumerate(labels)] if files else None
    split = Split("test", pixels, np.arange(images), labels, names)
    return Dataset("invented", "a generator", classes, split, split, split, "ab" * 32)


def predict(labels: np.ndarray, classes: int, skill: float = 3.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), classes)) + skill * np.eye(classes)[labels]
    exp = np.exp(logits)
    return (exp / exp.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., tuple[Run, Dataset]]:
    """A function that writes a whole run folder and returns it with its data set."""

    def make(
        classes: tuple[str, ...] = tuple(f"class {k}" for k in range(10)),
        images: int = 500,
        shape: tuple[int, int, int] = (32, 32, 3),
        skill: float = 3.0,
        files: bool = False,
        **info: Any,
    ) -> tuple[Run, Dataset]:
        dataset = make_dataset(classes, images, shape, files)
        labels = dataset.test.labels
        probabilities = predict(labels, len(classes), skill)
        run = Run.create(
            tmp_path / "run",
            "invented",
            {
                "rung": "0.1.0",
                "status": "finished",
                "created": "2026-01-02T03:04:05+00:00",
                "command": "rung train invented --budget 2m",
                "name": "invented",
                "seed": 7,
                "data": {
                    "name": "invented",
                    "origin": "a generator",
                    "fingerprint": dataset.fingerprint,
                    "classes": list(classes),
                    "images": {"train": 4000, "val": 500, "test": images},
                    "image_size": list(shape[:2]),
                    "channels": shape[2],
                    "unreadable": [{"file": "a/torn.png", "reason": "the file ends too early"}],
                    "notes": ["A validation split was cut from the training images."],
                },
                "recipe": {"widths": [64, 128], "label_smoothing": 0.2, "flip": True},
                "plan": {
                    "budget": 120.0,
                    "network": "Fast CNN",
                    "parameters": 1_970_000,
                    "epochs": 8.0,
                    "steps": 700,
                    "expected_accuracy": 0.8,
                    "expected_accuracy_interval": [0.75, 0.85],
                    "expected_seconds": {"start": 3.0, "training": 110.0, "evaluation": 4.0, "report": 1.0},
                    "reasons": ["The next larger network would see the images too rarely."],
                },
                "outcome": {"epochs": 7.9, "steps": 691, "images_per_second": 3500.0},
                "versions": {"python": "3.12.1"},
                "hardware": {"cpu": "an imagined processor", "cores": 2},
                "timings": {"start": 3.1, "training": 109.0, "evaluation": 4.2, "report": 0.4, "total": 117.0},
                **info,
            },
        )
        run.write_history(
            Epoch(e, e * 90, e * 13.0, 0.1 * (8 - e), 2.0 / e, 0.4 + 0.05 * e, 1.8 / e, 0.42 + 0.05 * e, 3500.0)
            for e in range(1, 9)
        )
        evaluation = evaluate(
            probabilities,
            labels,
            classes,
            train_accuracy=0.8,
            val_accuracy=0.82,
            val_images=500,
            seconds=109.0,
            wall_seconds=117.0,
            images_per_second=3500.0,
        )
        run.write_json("evaluation.json", evaluation.to_dict())
        run.write_predictions(range(images), labels, probabilities)
        return run, dataset

    return make
