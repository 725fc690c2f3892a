"""A climb that was stopped or killed, and two processes that want the same one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rung.errors import RunError, UsageError
from rung.ladder import Climb, climb, climbing, one_run, resume, steps
from rung.ladder.planning import Planning
from rung.progress import SilentDisplay
from rung.runs import CHECKPOINT, Run
from rung.training import device

INFO: dict[str, Any] = {"status": "running", "runs": [], "settings": {}, "used": 1.0, "steps": []}


# --- climb.json ------------------------------------------------------------------------------------


def test_nobody_goes_on_while_another_process_is_at_it(tmp_path: Path) -> None:
    at_it = Climb.create(tmp_path / "climb", "x", INFO)
    (at_it.path / "rungs" / "naive-seed0").mkdir()
    with at_it.exclusively(), pytest.raises(RunError, match="is being climbed by another process"):
        resume(at_it.path)
    assert (at_it.path / "rungs" / "naive-seed0").is_dir()


def test_what_the_other_process_did_is_read_again(tmp_path: Path) -> None:
    stale = Climb.create(tmp_path / "climb", "x", INFO)
    Climb(stale.path).update(status="finished")
    with stale.exclusively():
        assert stale.status == "finished"


def test_a_run_that_is_being_trained_is_not_taken_away(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "x", {"status": "running"})
    with run.exclusively(), pytest.raises(RunError, match="by another process"):
        one_run.Trainer._clear(None, run.path)  # type: ignore[arg-type]
    one_run.Trainer._clear(None, run.path)  # type: ignore[arg-type]
    assert not run.path.exists()


def test_an_altered_climb_is_noticed(tmp_path: Path) -> None:
    Climb.create(tmp_path / "climb", "x", INFO)
    (tmp_path / "climb" / "climb.json").write_text(json.dumps({**INFO, "used": 0.0}))
    with pytest.raises(RunError, match="is damaged or has been altered"):
        Climb(tmp_path / "climb")


# --- going on ----------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trainings of a moment, of the modern rung and without two of its ideas."""

    def choose(self: Planning, known: Any, left: float, equal_epochs: bool) -> None:
        self.length = 0.3

    monkeypatch.setattr(Planning, "choose_length", choose)
    monkeypatch.setattr(steps, "ABLATIONS", steps.ABLATIONS[:2])
    monkeypatch.setattr(climbing, "next_seed", lambda *arguments: None)
    yield


class Pressing(SilentDisplay):
    """Presses Ctrl-C at the first step of a run."""

    def __init__(self, run: int) -> None:
        self.run = run

    def progress(self, description: str, done: int, total: int | None) -> None:
        self.run -= "seed" in description

    def step(self, *arguments: float) -> None:
        if self.run == 0:
            self.run = -1
            signal.raise_signal(signal.SIGINT)


def test_a_stopped_run_goes_on_as_what_it_was(short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "climb"
    climb("digits", "3m", mode="down", threads=1, precision=None, out=path, display=Pressing(1))
    before = Run(path / "rungs" / "modern-seed0")
    assert (before.path / CHECKPOINT).is_dir()

    def plan(self: Planning) -> Any:
        raise AssertionError("the planner has chosen already")

    measured: list[str | None] = []
    measure = device.measure_machine
    monkeypatch.setattr(Planning, "_planners_choice", plan)
    monkeypatch.setattr(device, "measure_machine", lambda d, p=None: measured.append(p) or measure(d, p))
    on = resume(path, display=Pressing(2))
    (entry,) = on.info["runs"]
    after = Run(path / entry["path"])
    assert entry["name"] == "modern" and after.status == "finished"
    assert after.info["recipe"] == before.info["recipe"] and after.info["plan"] == before.info["plan"]
    assert measured == [before.info["plan"]["precision"]]


KILLED = """
from rung.ladder import climbing, one_run, steps
from rung.ladder.planning import Planning
from rung.pipeline import recorder

Planning.choose_length = lambda self, known, left, equal_epochs: setattr(self, "length", 2.0)
steps.ABLATIONS = steps.ABLATIONS[:2]
climbing.next_seed = lambda *arguments: None
recorder.CHECKPOINT_SECONDS, one_run.USED_SECONDS = 0.5, 0.1
from rung.cli import main

main()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_climb_goes_on(tmp_path: Path) -> None:
    path, command = tmp_path / "climb", [sys.executable, "-c", KILLED, "climb", "--quiet"]
    options = ["--json", "--down", "--budget", "3m", "--threads", "1", "--out", str(path)]
    with subprocess.Popen([*command, "digits", *options], stdout=subprocess.PIPE) as process:
        folder, deadline = path / "rungs" / "modern-seed0", time.monotonic() + 60
        used = None
        while not list((folder / CHECKPOINT).glob("step-*.safetensors")):
            if used is None and folder.exists():
                used = json.loads((path / "climb.json").read_text())["used"]
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    killed = Climb(path)
    assert killed.status == "running" and not killed.info["runs"]
    # What it used counts although no run has ended: there is a checkpoint after half a second.
    assert used is not None and killed.info["used"] > used + 0.2
    begun = Run(folder).info
    killed.update(run_seconds=0.2)  # So that the test ends soon; the run that was killed has its plan.

    done = subprocess.run([*command, "--json", "--resume", str(path)], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "finished"
    on = Climb(path)
    assert len(on.steps) > 1
    assert [step.name for step in on.steps] == [step["name"] for step in on.info["steps"]]
    assert all(step.test_accuracy is not None for step in on.steps)
    entry = on.entries("modern")[0]
    # It had its two seconds, before and after, and all of them were counted.
    assert entry["wall"] >= entry["seconds"] > 1.5
    assert on.runs("modern")[0].info["recipe"] == begun["recipe"]


# --- the command -------------------------------------------------------------------------------------


def test_what_has_no_effect_beside_resume_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rung.cli.app import app

    with pytest.raises(UsageError, match="--budget has no effect"):
        app(["climb", "--resume", str(tmp_path), "--budget", "1m"], standalone_mode=False)
    with pytest.raises(RunError, match="is not a climb"):
        app(["climb", "--resume", str(tmp_path), "--quiet"], standalone_mode=False)
