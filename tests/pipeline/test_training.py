from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rung.errors import DataError, RunError, UsageError
from rung.pipeline import resume, train
from rung.pipeline.training import usual_speed
from rung.progress import SilentDisplay
from rung.runs import CHECKPOINT, MODEL, REPORT, Epoch, Run
from rung.training import session
from rung.training.clocks import TimeClock
from rung.training.plan import Plan

FILES = {
    "checksums.json",
    "run.json",
    "history.csv",
    "model.safetensors",
    "evaluation.json",
    "predictions.parquet",
    "recordings.safetensors",
    "findings.json",
    "report.html",
}


class Pressing(SilentDisplay):
    """Presses Ctrl-C in the middle of the training, as often as asked."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.messages: list[str] = []
        self.finished = 0

    def step(self, fraction: float, *rest: float) -> None:
        while self.left:
            self.left -= 1
            signal.raise_signal(signal.SIGINT)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def pressing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Pressing]:
    # Every step is shown, so that the first one is already in the middle.
    monkeypatch.setattr("rung.training.session._SHOWN", 0.0)
    return Pressing


def weights(run: Run) -> dict[str, Any]:
    return load_file(run.path / MODEL)


def same(one: Run, other: Run) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


# --- a folder of class folders -------------------------------------------------------------------


def test_a_finished_run_has_all_its_files(finished: Run) -> None:
    names = {path.name for path in finished.path.iterdir() if not path.name.startswith(".")}
    assert {name for name in names if not name.startswith("events.out.tfevents.")} == FILES
    assert len(names) == len(FILES) + 1
    assert finished.status == "finished"


def test_it_has_learnt(finished: Run) -> None:
    assert finished.evaluation.accuracy > 0.8
    assert finished.evaluation.test_images == len(finished.predictions) == 10
    assert finished.evaluation.classes == ("apple", "pear <b>", "梨")


def test_run_json_is_enough_to_run_it_again(finished: Run, folder: Path) -> None:
    info = finished.info
    assert info["command"].startswith("rung train ") and "--epochs 4" in info["command"]
    assert info["settings"]["data"] == str(folder)
    assert info["data"]["classes"] == ["apple", "pear <b>", "梨"]
    assert sum(info["data"]["images"].values()) == 48 and info["data"]["images"]["test"] == 10
    assert len(info["data"]["fingerprint"]) == 64
    assert {"recipe", "plan", "seed", "versions", "hardware", "timings", "outcome", "created", "rung"} <= info.keys()
    stages = {"start", "data", "planning", "training", "evaluation", "report", "total", "before_training"}
    assert stages <= info["timings"].keys()
    assert info["outcome"]["steps"] == finished.history[-1].step


def test_the_evaluation_belongs_to_the_predictions(finished: Run) -> None:
    table = finished.predictions.to_pydict()
    right = [label == said for label, said in zip(table["label"], table["prediction"], strict=True)]
    assert finished.evaluation.accuracy == np.mean(right)
    assert finished.evaluation.seconds == pytest.approx(finished.history[-1].seconds, rel=0.2)


def test_the_report_names_the_classes_without_being_broken_by_them(finished: Run) -> None:
    page = (finished.path / REPORT).read_text(encoding="utf-8")
    assert "梨" in page and "pear &lt;b&gt;" in page


# --- the same again ------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_bit_for_bit(finished: Run, folder: Path, tmp_path: Path) -> None:
    again = train(folder, epochs=4, threads=1, out=tmp_path / "again")
    assert again.info["recipe"] == finished.info["recipe"]
    assert again.info["plan"]["precision"] == finished.info["plan"]["precision"]
    assert [row.step for row in again.history] == [row.step for row in finished.history]
    assert [row.val_loss for row in again.history] == [row.val_loss for row in finished.history]
    assert same(again, finished)
    assert again.evaluation.log_loss == finished.evaluation.log_loss
    other = train(folder, epochs=4, threads=1, seed=1, out=tmp_path / "other")
    assert not same(other, finished)
    # Whatever the seed, the same images are tested.
    assert other.predictions["index"] == finished.predictions["index"]
    assert other.predictions["label"] == finished.predictions["label"]


# --- Ctrl-C --------------------------------------------------------------------------------------


def test_ctrl_c_once_evaluates_what_there_is_and_resuming_gives_the_uninterrupted_weights(
    finished: Run, folder: Path, tmp_path: Path, pressing: Callable[[int], Pressing]
) -> None:
    display = pressing(1)
    run = train(folder, epochs=4, threads=1, out=tmp_path / "run", display=display)
    assert run.status == "interrupted" == Run(run.path).status
    assert run.history[-1].step == 1 < finished.history[-1].step
    assert (run.path / REPORT).is_file() and (run.path / CHECKPOINT).is_dir()
    assert 0 <= run.evaluation.accuracy <= 1
    assert len(display.messages) == 1 and display.finished == 1
    on = resume(run.path)
    assert on.status == "finished" and not (on.path / CHECKPOINT).exists()
    assert same(on, finished)
    with pytest.raises(RunError, match="has finished; there is nothing to go on with"):
        resume(run.path)


def test_ctrl_c_twice_leaves_at_once_and_the_run_can_be_resumed(
    finished: Run, folder: Path, tmp_path: Path, pressing: Callable[[int], Pressing]
) -> None:
    display = pressing(2)
    with pytest.raises(KeyboardInterrupt):
        train(folder, epochs=4, threads=1, out=tmp_path / "run", display=display)
    run = Run(tmp_path / "run")
    assert run.status == "interrupted"
    assert not (run.path / REPORT).exists()
    assert f"--resume {run.path}" in display.messages[-1]
    assert same(resume(run.path), finished)


def test_a_resumed_budget_counts_what_was_used(
    folder: Path, tmp_path: Path, pressing: Callable[[int], Pressing]
) -> None:
    display = pressing(1)
    run = train(folder, budget=6.0, threads=1, out=tmp_path / "run", display=display)
    used = run.info["timings"]["before_training"]
    on = resume(run.path)
    assert on.status == "finished"
    assert on.info["timings"]["total"] < 6.0 - used + 3.0
    assert on.history[-1].learning_rate < 0.3


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_plan_that_ends_early_ends_after_its_steps(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = session.plan_training

    def short(*given: Any, **named: Any) -> Plan:
        return replace(planned(*given, **named), epochs=2.0, ends_early=True)

    monkeypatch.setattr(session, "plan_training", short)
    run = train(folder, budget=30.0, threads=1, out=tmp_path / "run")
    assert run.info["outcome"]["epochs"] == 2
    assert run.history[-1].learning_rate < 0.6 * run.history[0].learning_rate
    assert run.info["timings"]["total"] < 20


def test_a_failure_is_written_down_and_can_be_resumed(
    finished: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise RunError("cannot write: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("rung.training.weights.save_classifier", full)
        with pytest.raises(RunError, match="No space left"):
            train(folder, epochs=4, threads=1, out=tmp_path / "run")
    assert Run(tmp_path / "run").status == "failed"
    assert same(resume(tmp_path / "run"), finished)


def test_data_that_has_changed_is_not_gone_on_with(
    fill_folder: Callable[..., Path], tmp_path: Path, pressing: Callable[[int], Pressing]
) -> None:
    data = fill_folder(tmp_path / "data")
    run = train(data, epochs=2, threads=1, out=tmp_path / "run", display=pressing(1))
    fill_folder(data, seed=9)
    with pytest.raises(DataError, match=r"has changed since .* was trained on it; train anew with `rung train"):
        resume(run.path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": "no-such-thing"}, DataError, "no file or folder"),
        ({"budget": 0.01}, UsageError, "no time for a single training step"),
        ({"epochs": 1, "budget": 3}, UsageError, "contradict"),
        ({"device": "tpu"}, UsageError, "no device 'tpu'"),
        ({"epochs": 1, "max_memory": 2**20}, UsageError, "--max-memory 1 MiB is too small"),
    ],
)
def test_what_cannot_be_done_leaves_no_folder(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        train(**{"data": "digits", "threads": 1, "out": tmp_path / "run", **options})
    assert not (tmp_path / "run").exists()


def test_a_budget_that_the_first_reading_used_up_may_do_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rung.pipeline.training.FIRST_READING", 0)
    with pytest.raises(UsageError, match="for reading the images; what was read is kept, so try again"):
        train("digits", 0.01, threads=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(RunError, match="is not empty"):
        train(folder, epochs=1, threads=1, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("part", ["settings", "recipe", "plan", "data"])
def test_an_incomplete_run_json(part: str, folder: Path, tmp_path: Path, finished: Run) -> None:
    info = {**finished.info, "status": "interrupted"}
    del info[part]
    (tmp_path / "run.json").write_text(json.dumps(info))
    with pytest.raises(RunError, match=r"run\.json"):
        resume(tmp_path)


def test_the_usual_speed() -> None:
    def row(speed: float) -> Epoch:
        return Epoch(1.0, 1, 1.0, 0.1, 1.0, 0.5, 1.0, 0.5, speed)

    assert usual_speed([row(3), row(math.nan), row(1), row(2)]) == 2
    assert usual_speed([]) == usual_speed([row(math.nan)]) == 0


def test_a_path_is_never_taken_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no file or folder"):
        train(Path("digits"), epochs=1)


def test_a_rung_with_rounds_is_resumed_to_the_same_weights(
    folder: Path, tmp_path: Path, pressing: Callable[[int], Pressing]
) -> None:
    options: dict[str, Any] = {
        "epochs": 4,
        "threads": 1,
        "precision": "float32",
        "rung": "residual",
        "rounds": (1e-3, 1e-4),
    }
    whole = train(folder, out=tmp_path / "whole", **options)
    assert "--rung residual --rounds 0.001,0.0001" in whole.info["command"]
    rates = [row.learning_rate for row in whole.history]
    assert rates[0] == pytest.approx(1e-3) and rates[-1] == pytest.approx(1e-4)
    assert "expected_accuracy" in whole.info["plan"] and whole.info["plan"]["expected_accuracy"] is None
    stopped = train(folder, out=tmp_path / "stopped", display=pressing(1), **options)
    assert stopped.status == "interrupted"
    assert same(resume(stopped.path), whole)


def test_a_pause_is_not_taken_from_the_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left: list[float] = []

    class Paused(TimeClock):
        def __init__(self, *given: float) -> None:
            super().__init__(*given)
            self.paused = 1000.0

    monkeypatch.setattr("rung.training.clocks.TimeClock", Paused)
    monkeypatch.setattr("rung.pipeline.judging.hurry", lambda *given: left.append(given[-1]))
    train("digits", budget="3s", out=tmp_path / "run", device="cpu", precision="float32")
    assert len(left) == 1 and 990 < left[0] < 1003
