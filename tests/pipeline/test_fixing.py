from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rung
from rung.diagnosis import Finding, Remedy
from rung.errors import RunError
from rung.pipeline import fixing
from rung.runs import Run


def found(severity: str = "serious", **settings: Any) -> Finding:
    return Finding("learning_rate_too_low", severity, "Too low.", Remedy("More.", None, settings))  # type: ignore[arg-type]


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
    choice = fixing._remedy(None, set(), by_time=True)  # type: ignore[arg-type]
    assert choice == (findings[2], {"batch_size": 8})
    assert fixing._remedy(None, {"learning_rate_too_low"}, by_time=True) is None  # type: ignore[arg-type]


def test_a_folder_that_is_taken_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(RunError, match="is not empty"):
        rung.train_and_fix(folder, epochs=1, out=tmp_path)
