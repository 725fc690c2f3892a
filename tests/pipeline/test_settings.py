from __future__ import annotations

import math
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rung.data import find_source
from rung.errors import DataError, RunError, UsageError
from rung.pipeline.settings import Settings, check_settings, settings_of
from rung.runs import Run

PLAIN: dict[str, Any] = {
    "data": "digits",
    "budget": None,
    "epochs": None,
    "seed": 0,
    "image_size": None,
    "device": "auto",
    "precision": None,
    "threads": None,
    "max_memory": None,
}


def checked(**changes: Any) -> Settings:
    return check_settings(**{**PLAIN, **changes})


def test_two_minutes_unless_something_else_is_asked_for() -> None:
    assert checked().budget == 120
    assert checked(budget="1h30m").budget == 5400
    assert checked(epochs=3).budget is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": "2m", "epochs": 3}, "contradict each other"),
        ({"budget": "soon"}, "not a length of time"),
        ({"budget": 0}, "above 0"),
        ({"epochs": 0}, "above 0 and below a million, not 0"),
        ({"epochs": math.nan}, "above 0 and below a million, not nan"),
        ({"epochs": 1e7}, "below a million"),
        ({"seed": -1}, "the seed must be 0 or more, .* not -1"),
        ({"seed": 2**63}, "the seed must be .* below"),
        ({"image_size": 0}, "between 1 and 1024 pixels, not 0"),
        ({"image_size": 5000}, "between 1 and 1024 pixels"),
        ({"precision": "float16"}, "float32 or bfloat16, not 'float16'"),
        ({"threads": 0}, "at least 1, not 0"),
        ({"max_memory": 0}, "more than nothing"),
        ({"max_memory": math.inf}, "finite"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checked(**changes)


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, "rung train digits --budget 120s"),
        ({"epochs": 0.5, "seed": 3}, "rung train digits --epochs 0.5 --seed 3"),
        (
            {"data": "my photos", "image_size": 64, "threads": 2, "precision": "float32"},
            "rung train 'my photos' --budget 120s --image-size 64 --precision float32 --threads 2",
        ),
        (
            {"device": "cpu", "max_memory": 900 * 2**20},
            "rung train digits --budget 120s --device cpu --max-memory 900M",
        ),
        ({"exclude": Path("my list.csv")}, "rung train digits --budget 120s --exclude 'my list.csv'"),
        ({"exclude": [3, "a/b.png"]}, "rung train digits --budget 120s --exclude excluded.csv"),
    ],
)
def test_the_command_that_does_the_same(changes: dict[str, Any], command: str) -> None:
    assert checked(**changes).command() == command
    assert shlex.split(command)[2] == checked(**changes).data


def test_windows_takes_no_single_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert checked(data="C:\\my photos").command() == 'rung train "C:\\my photos" --budget 120s'


def test_settings_come_back_from_a_run(tmp_path: Path) -> None:
    settings = checked(epochs=2, seed=5, exclude=[3, "a/b.png"])
    run = Run.create(tmp_path, "x", {"status": "running", "settings": asdict(settings)})
    assert settings_of(run) == settings


@pytest.mark.parametrize(
    "settings", [None, {}, [], {**PLAIN, "extra": 1}, {**PLAIN, "seed": "x"}, {**PLAIN, "budget": "soon"}]
)
def test_altered_settings_are_a_damaged_run(settings: Any, tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x", {"status": "running", "settings": settings})
    with pytest.raises(RunError, match=r"run\.json has no complete settings"):
        settings_of(run)


def test_data_is_found_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    known = {"budget": 60, "epochs": None, "seed": 0, "image_size": None, "device": "auto"}

    def place(data: str | Path) -> str:
        return check_settings(data=data, precision=None, threads=None, max_memory=None, **known).data  # type: ignore[arg-type]

    assert place("photos") == place(Path("photos")) == place("./photos") == str(tmp_path / "photos")
    assert place("digits") == "digits" and place("nowhere") == "nowhere"
    (tmp_path / "digits").mkdir()
    assert place("digits") == "digits"
    assert place(Path("digits")) == place("./digits") == str(tmp_path / "digits")


@pytest.mark.parametrize("data", ["x" * 5000, "~nobodyatall/x"])
def test_a_path_that_cannot_be_looked_for_is_one_sentence(data: str) -> None:
    known = {"budget": 60, "epochs": None, "seed": 0, "image_size": None, "device": "auto"}
    checked = check_settings(data=data, precision=None, threads=None, max_memory=None, **known)  # type: ignore[arg-type]
    assert checked.data == data
    with pytest.raises(DataError, match="cannot be looked for"):
        find_source(data)
