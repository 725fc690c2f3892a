from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rung
from rung.diagnosis import Finding, Remedy
from rung.errors import DataError, RunError
from rung.pipeline import fixing, training
from rung.pipeline.settings import Settings, check_settings
from rung.progress import SilentDisplay
from rung.runs import Run


def found(severity: str = "serious", **settings: Any) -> Finding:
    return Finding("learning_rate_too_low", severity, "Too low.", Remedy("More.", None, settings))  # type: ignore[arg-type]


def settings(**changes: Any) -> Settings:
    asked = {"data": "digits", "budget": 60, "epochs": None, "seed": 0, "image_size": None, "device": "auto"}
    return check_settings(**asked, precision=None, threads=None, max_memory=None, **changes)  # type: ignore[arg-type]


def test_a_remedy_is_applied_and_the_better_run_is_kept(folder: Path, tmp_path: Path) -> None:
    run = rung.train_and_fix(
        folder, epochs=3, rate_scale=0.001, out=tmp_path / "fix", device="cpu", threads=1, precision="float32"
    )
    story = json.loads((tmp_path / "fix" / "fixes.json").read_text())
    assert story["kept"] == run.path.name != "attempt-1"
    first, second = story["attempts"][:2]
    assert second["finding"] == "learning_rate_too_low" and second["remedy"]["rate_scale"] > 0.01
    assert second["kept"] and second["val_accuracy"] > first["val_accuracy"]
    # The test split is read for the run that is kept, and for no other.
    assert run.evaluation.test_images and (run.path / "report.html").exists()
    for other in (Run(path) for path in (tmp_path / "fix").glob("attempt-*") if path != run.path):
        assert not (other.path / "evaluation.json").exists() and not (other.path / "predictions.parquet").exists()


def test_the_first_finding_with_other_settings_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = (found(), found("note", width=2.0), found(epochs=9.0, batch_size=8))
    monkeypatch.setattr("rung.diagnosis.diagnose_run", lambda run: findings)
    choice = fixing._remedy(None, set(), settings())  # type: ignore[arg-type]
    assert choice == (findings[2], {"batch_size": 8})
    assert fixing._remedy(None, {"learning_rate_too_low"}, settings()) is None  # type: ignore[arg-type]


def test_a_folder_that_is_taken_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(RunError, match="is not empty"):
        rung.train_and_fix(folder, epochs=1, out=tmp_path)


# --- lists -----------------------------------------------------------------------------------------


def test_a_list_that_nobody_wrote_is_no_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = tmp_path / "list.csv"
    gone = (found(exclude=str(there)),)
    monkeypatch.setattr("rung.diagnosis.diagnose_run", lambda run: gone)
    assert fixing._remedy(None, set(), settings()) is None  # type: ignore[arg-type]
    there.write_text("image\n")
    assert fixing._remedy(None, set(), settings()) == (gone[0], {"exclude": str(there)})  # type: ignore[arg-type]
    assert fixing._remedy(None, set(), settings(exclude="mine.csv")) is None  # type: ignore[arg-type]


def test_a_remedy_that_cannot_be_tried_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    again = fixing._attempt

    def attempt(settings: Settings, *rest: Any) -> Run:
        if settings.batch_size == 8:
            raise DataError("there is no such list")
        return again(settings, *rest)

    monkeypatch.setattr(fixing, "_attempt", attempt)
    monkeypatch.setattr("rung.diagnosis.diagnose_run", lambda run: (found(batch_size=8),))
    run = rung.train_and_fix(folder, epochs=1, out=tmp_path / "fix", device="cpu", threads=1, precision="float32")
    assert run.path.name == "attempt-1" and run.evaluation.wall_seconds > run.evaluation.seconds > 0


def test_an_attempt_starts_no_process_that_is_never_asked(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(training, "EvaluationWorker", lambda: pytest.fail("a process was started"))
    run = training.attempt(
        replace(settings(), data=str(folder), budget=None, epochs=0.5),
        tmp_path / "attempt",
        SilentDisplay(),
        time.monotonic(),
    )
    assert run.status == "finished"


# --- Ctrl-C and the end ------------------------------------------------------------------------------


class Pressing(SilentDisplay):
    """Presses Ctrl-C at the first step of a training."""

    def __init__(self, training: int) -> None:
        self.training, self.seen = training, 0

    def start(self, plan_lines: list[str]) -> None:
        self.seen += 1

    def step(self, *arguments: float) -> None:
        import signal

        if self.seen == self.training:
            self.seen += 100
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("training", [1, 2])
def test_ctrl_c_ends_it_with_the_best_so_far(
    training: int, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("rung.diagnosis.diagnose_run", lambda run: (found(batch_size=8),))
    options: dict[str, Any] = {"device": "cpu", "threads": 1, "precision": "float32", "display": Pressing(training)}
    run = rung.train_and_fix(folder, epochs=30, out=tmp_path / "fix", **options)
    assert run.status == "interrupted" and run.evaluation.test_images
    assert len(list((tmp_path / "fix").glob("attempt-*"))) == training
    assert (tmp_path / "fix" / "fixes.json").exists() and (run.path / "report.html").exists()


def test_the_test_split_is_read_where_the_user_said(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    import rung.training.device

    asked: list[str] = []
    choose = rung.training.device.choose_device
    monkeypatch.setattr("rung.training.device.choose_device", lambda name="auto": asked.append(name) or choose(name))
    monkeypatch.setattr("rung.diagnosis.diagnose_run", lambda run: ())
    rung.train_and_fix(folder, epochs=1, out=tmp_path / "fix", device="cpu", threads=1, precision="float32")
    assert len(asked) >= 2 and set(asked) == {"cpu"}
