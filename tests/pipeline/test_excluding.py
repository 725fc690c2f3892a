from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from rung.errors import DataError, RunError
from rung.pipeline import evaluate, train
from rung.pipeline.afterwards import dataset_of
from rung.runs import EXCLUDED, Run


def test_a_training_without_some_images(finished: Run, folder: Path, tmp_path: Path) -> None:
    whole = dataset_of(finished)
    left_out = [whole.train.file(0), whole.val.file(0)]
    path = tmp_path / "my list.csv"
    path.write_text("image\n" + "\n".join(map(str, left_out)) + "\n", encoding="utf-8")
    run = train(folder, epochs=1, threads=1, exclude=path, out=tmp_path / "run")

    path.unlink()  # The run does not depend on it.
    images = json.loads((run.path / "run.json").read_text())["data"]["images"]
    assert images == {"train": len(whole.train) - 1, "val": len(whole.val) - 1, "test": len(whole.test)}
    assert "Left out as asked: 2 images." in run.info["data"]["notes"]
    assert run.info["data"]["excluded"] == {"images": 2, "list": EXCLUDED}
    assert shlex.split(run.info["command"])[-2:] == ["--exclude", str(path)]
    again = dataset_of(run)
    assert not set(left_out) & {split.file(i) for split in again.splits for i in range(len(split))}
    assert evaluate(run).accuracy == run.evaluation.accuracy

    content = (run.path / EXCLUDED).read_bytes()
    (run.path / EXCLUDED).write_bytes(content[: content.index(b"\n", 6) + 1])
    with pytest.raises(RunError, match="is damaged or has been altered"):
        dataset_of(run)
    (run.path / EXCLUDED).unlink()
    with pytest.raises(RunError, match="the list of excluded images"):
        dataset_of(run)


def test_images_given_one_by_one(finished: Run, folder: Path, tmp_path: Path) -> None:
    whole = dataset_of(finished)
    row = int(whole.train.rows[3])
    run = train(folder, epochs=1, threads=1, exclude=[row], out=tmp_path / "run")
    assert row not in dataset_of(run).train.rows
    assert run.info["settings"]["exclude"] == [row]
    assert shlex.split(run.info["command"])[-2:] == ["--exclude", EXCLUDED]


def test_test_images_stay(finished: Run, folder: Path, tmp_path: Path) -> None:
    file = str(dataset_of(finished).test.file(0))
    with pytest.raises(DataError, match="in the test split"):
        train(folder, epochs=1, exclude=[file], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
