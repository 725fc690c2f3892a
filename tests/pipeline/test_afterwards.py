from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rung.errors import DataError, RunError
from rung.pipeline import evaluate, report
from rung.runs import EVALUATION, MODEL, PREDICTIONS, REPORT, Run


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    shutil.copytree(finished.path, tmp_path / "copy")
    return Run(tmp_path / "copy")


def contents(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir()}


def test_the_same_evaluation_again(run: Run) -> None:
    before = contents(run)
    assert evaluate(run) == run.evaluation
    assert contents(run) == before


@pytest.mark.parametrize("name", [EVALUATION, PREDICTIONS])
def test_what_is_missing_is_written(run: Run, finished: Run, name: str) -> None:
    (run.path / name).unlink()
    found = evaluate(run)
    assert found.accuracy == finished.evaluation.accuracy
    assert found.log_loss == finished.evaluation.log_loss
    assert run.evaluation.accuracy == found.accuracy
    assert run.predictions == finished.predictions


def test_other_images(run: Run, tmp_path: Path, fill_folder: Callable[..., Path]) -> None:
    before = contents(run)
    # Larger, grey, of two classes only, one of which has a single image.
    other = fill_folder(tmp_path / "other", each=6, size=(20, 24), channels=1, seed=5)
    shutil.rmtree(other / "梨")
    for extra in sorted((other / "apple").iterdir())[1:]:
        extra.unlink()
    found = evaluate(run, str(other))
    assert found.test_images == 7
    assert [row.support for row in found.per_class] == [1, 6, 0]
    assert found.train_accuracy == run.evaluation.train_accuracy
    assert found.seconds == run.evaluation.seconds
    assert contents(run) == before


def test_the_training_data_as_other_data_is_all_of_it(run: Run, folder: Path) -> None:
    found = evaluate(run, str(folder))
    assert found.test_images == sum(run.info["data"]["images"].values()) == 48
    assert found.accuracy > 0.8


def test_other_classes(run: Run, tmp_path: Path, fill_folder: Callable[..., Path]) -> None:
    other = fill_folder(tmp_path / "other", classes=("apple", "car", "dog"))
    with pytest.raises(DataError, match=r"has classes that the model does not know \(car, dog\); it knows apple, pear"):
        evaluate(run, str(other))
    with pytest.raises(DataError, match="no file or folder"):
        evaluate(run, str(tmp_path / "nowhere"))


def test_a_run_without_weights(run: Run) -> None:
    (run.path / MODEL).unlink()
    with pytest.raises(RunError, match="its training has not ended"):
        evaluate(run)


def test_damaged_weights(run: Run) -> None:
    path = run.path / MODEL
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="is damaged"):
        evaluate(run)


@pytest.mark.parametrize("part", ["settings", "recipe", "plan", "data"])
def test_an_incomplete_run_json(run: Run, part: str) -> None:
    info = dict(run.info)
    del info[part]
    run.info = info
    with pytest.raises(RunError, match=r"run\.json"):
        evaluate(run)


def test_data_that_has_changed(run: Run, tmp_path: Path, fill_folder: Callable[..., Path]) -> None:
    changed = fill_folder(tmp_path / "changed", size=(16, 16), seed=3)
    run.update(settings={**run.info["settings"], "data": str(changed)})
    with pytest.raises(DataError, match="has changed since"):
        evaluate(run)


# --- the report ----------------------------------------------------------------------------------


def test_a_report_that_is_there_is_left(run: Run) -> None:
    (run.path / REPORT).write_text("mine")
    assert run.report() == run.path / REPORT
    assert (run.path / REPORT).read_text() == "mine"


def test_a_missing_report_is_made_again(run: Run, finished: Run) -> None:
    (run.path / REPORT).unlink()
    path = run.report()
    original = (finished.path / REPORT).read_text(encoding="utf-8")
    assert "data:image" in original
    assert len(path.read_text(encoding="utf-8")) == pytest.approx(len(original), rel=0.1)


def test_without_its_data_a_report_has_no_images(run: Run, tmp_path: Path) -> None:
    run.update(settings={**run.info["settings"], "data": str(tmp_path / "gone")})
    page = report(run).read_text(encoding="utf-8")
    assert "apple" in page and "data:image/jpeg" not in page
