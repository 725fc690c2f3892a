from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rung
from rung.errors import RunError, UsageError
from rung.ladder import Climb, climb, climbing, planning, resume, steps
from rung.ladder.planning import Planning
from rung.ladder.steps import Step
from rung.models import backbones
from rung.progress import SilentDisplay
from rung.training.plan_pretrained import plan_pretrained
from rung.training.rungs import LADDER, PRETRAINED

NAMES = [step.name for step in LADDER]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, pictures: Callable[..., Any]) -> Path:
    """Class folders with a hostile name among them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("climb") / "data"
    pixels, labels = pictures(150, 3, noise=40.0)
    for name in ("a", "b", "<b>&'\""):
        (folder / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        Image.fromarray(image.squeeze(2)).save(folder / ("a", "b", "<b>&'\"")[label] / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def small() -> Any:
    """Trainings of a moment, and one more seed for the first step, however busy the computer is."""

    def choose(self: Planning, steps: list[Step], left: float, equal_epochs: bool) -> None:
        self.length, self.epochs = 0.2, 2.0 if equal_epochs else 0.0

    def one_more(order: list[str], counts: dict[str, int], costs: dict[str, float], left: float) -> str | None:
        return order[0] if counts[order[0]] == 1 else None

    patch = pytest.MonkeyPatch()
    patch.setattr(Planning, "choose_length", choose)
    patch.setattr(climbing, "next_seed", one_more)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory, small: None) -> Climb:
    return climb(data, "3m", threads=1, out=tmp_path_factory.mktemp("out") / "climb")


def test_every_rung_is_a_run_of_its_own(finished: Climb) -> None:
    assert finished.status == "finished"
    steps = finished.steps
    assert [step.name for step in steps] == NAMES
    assert [step.below for step in steps] == [None, *NAMES[:-1]]
    for step in steps:
        runs = finished.runs(step.name)
        assert len(runs) == step.seeds == (2 if step.name == "naive" else 1)
        assert all(run.status == "finished" and run.history for run in runs)
        kinds = {finding["kind"] for run in runs for finding in run.read_json("findings.json")["findings"]}
        assert "stopped_too_early" not in kinds  # which has been stopped by nobody
        assert step.val_interval[0] <= step.val_accuracy <= step.val_interval[1]
        assert step.gap == pytest.approx(step.train_accuracy - step.val_accuracy)
        assert step.test_accuracy is not None and step.verdict and step.parameters > 0
        assert step.test_accuracy == pytest.approx(sum(run.evaluation.accuracy for run in runs) / len(runs))
        assert (step.change is None) == (step.name == "naive")
    assert rung.Climb(finished.path).info == finished.info


def test_its_runs_can_be_evaluated_again(finished: Climb) -> None:
    run = finished.runs("batchnorm")[0]
    assert rung.evaluate(run).accuracy == run.evaluation.accuracy
    assert "--rung batchnorm" in run.info["command"]


def test_the_report_stands_alone_and_escapes(finished: Climb) -> None:
    page = (finished.path / "report.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    for name in NAMES:
        assert f"<h3>{name} " in page
    assert "<b>&'" not in page and html.escape("<b>&'").replace("&#x27;", "&#39;") in page
    assert page.count('class="architecture"') == len(NAMES)


def test_plain_values(finished: Climb) -> None:
    values = json.loads(json.dumps(finished.to_dict(), allow_nan=False))
    assert values["status"] == "finished" and len(values["steps"]) == len(NAMES)
    assert finished.report().is_file()


class Pressing(SilentDisplay):
    """Presses Ctrl-C some steps into the third run."""

    def __init__(self) -> None:
        self.runs = 0

    def progress(self, description: str, done: int, total: int | None) -> None:
        self.runs += "seed" in description

    def step(self, *arguments: float) -> None:
        import signal

        if self.runs == 3:
            self.runs += 1
            signal.raise_signal(signal.SIGINT)


def test_a_stopped_climb_has_a_report_and_goes_on(data: Path, tmp_path: Path, small: None) -> None:
    stopped = climb(data, "3m", equal="epochs", threads=1, out=tmp_path / "climb", display=Pressing())
    assert stopped.status == "interrupted"
    assert [step.name for step in stopped.steps] == ["naive", "deep"]
    # The test images are looked at once, at the end.
    assert all(step.test_accuracy is None for step in stopped.steps)
    assert "have not been looked at" in (stopped.path / "report.html").read_text(encoding="utf-8")
    before = stopped.info["runs"]
    on = resume(stopped.path)
    assert on.status == "finished" and on.info["runs"][:2] == before
    assert {step.name for step in on.steps} == set(NAMES)
    with pytest.raises(RunError, match="has finished"):
        resume(on.path)


@pytest.mark.parametrize("mode", ["down", "auto"])
def test_other_ways(mode: Any, data: Path, tmp_path: Path, small: None) -> None:
    done = climb(data, "3m", mode=mode, threads=1, out=tmp_path / "climb")
    assert done.status == "finished"
    steps = done.steps
    assert steps[0].name == ("modern" if mode == "down" else "naive")
    assert len(steps) >= 2 and all(step.below for step in steps[1:])
    assert (done.path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "up"}, "the mode must be one of ladder, auto, down"),
        ({"equal": "money"}, "must be time or epochs"),
        ({"mode": "auto", "equal": "epochs"}, "equal time"),
        ({"budget": "soon"}, "is not a length of time"),
    ],
)
def test_what_makes_no_sense(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        climb(**{"data": "digits", "budget": "1m", "threads": 1, "out": tmp_path / "climb", **options})
    assert not (tmp_path / "climb").exists()


def test_what_is_no_climb(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a climb"):
        Climb(tmp_path)
    (tmp_path / "climb.json").write_text('{"status": 3}')
    with pytest.raises(RunError, match="is damaged"):
        Climb(tmp_path)


def test_the_command_that_does_the_same(finished: Climb) -> None:
    assert finished.info["command"].startswith("rung climb ")
    assert "--budget 180s" in finished.info["command"]


@pytest.mark.skipif(not backbones.is_installed(), reason="rung[pretrained] is not installed")
def test_a_pretrained_network_is_a_rung(
    tmp_path: Path, small: None, pictures: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, labels = pictures(60, 3, size=(32, 32), channels=3)
    np.savez(tmp_path / "photos.npz", x=pixels, y=labels)

    def anyhow(dataset: Any, probe: Any, machine: Any, mode: str, **options: Any) -> Any:
        assert mode == "auto"
        return plan_pretrained(dataset, probe, machine, "always", **options)

    monkeypatch.setattr(planning, "plan_pretrained", anyhow)
    monkeypatch.setattr(steps, "LADDER", LADDER[:1])
    monkeypatch.setattr(steps, "RUNGS", (LADDER[0], PRETRAINED))
    found = climb(tmp_path / "photos.npz", "3m", threads=1, out=tmp_path / "climb")
    naive, top = found.steps
    assert (naive.name, top.name, top.below, top.epochs) == ("naive", "pretrained", "naive", 1.0)
    assert top.test_accuracy is not None
    page = (found.path / "report.html").read_text(encoding="utf-8")
    best = max(found.steps, key=lambda step: step.val_accuracy)
    assert ("had learnt from 1.28 million photographs" in page) == (best.name == "pretrained")
