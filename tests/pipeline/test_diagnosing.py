from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rung
from rung.data import load
from rung.data.lists import read_list
from rung.errors import DataError, RunError, UsageError
from rung.pipeline import diagnose, train
from rung.runs import FINDINGS, REPORT, Run


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, fill_folder: Callable[..., Path]) -> Path:
    """A folder with copies in its test split, and one image under two labels."""
    root = tmp_path_factory.mktemp("faulty") / "fruit"
    fill_folder(root / "train", 70, size=(12, 12), noise=20.0)
    fill_folder(root / "test", 20, size=(12, 12), noise=20.0, seed=1)
    for file in sorted((root / "train" / "pear <b>").iterdir())[:6]:
        shutil.copy(file, root / "test" / "pear <b>" / f"=copy-{file.name}")
    shutil.copy(sorted((root / "train" / "apple").iterdir())[10], root / "train" / "梨" / "=twin.png")
    (root / "train" / "apple" / "broken.png").write_bytes(b"\x89PNG")
    return root


def test_a_diagnosis_of_data(faulty: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in faulty.rglob("*")}
    found = diagnose(faulty, "40s", out=tmp_path / "out", threads=1)
    kinds = [finding.kind for finding in found.findings]
    assert {"leaked_test_images", "contradictory_duplicates", "unreadable_images"} <= set(kinds)
    assert "shuffled_labels" not in kinds
    assert {path: path.stat().st_mtime_ns for path in faulty.rglob("*")} == before

    written = json.loads((found.path / FINDINGS).read_text())
    assert [each["kind"] for each in written["findings"]] == kinds
    assert written["data"]["network"]["folds"] >= 2
    page = (found.path / REPORT).read_text(encoding="utf-8")
    assert found.report == found.path / REPORT
    assert "pear &lt;b&gt;" in page and "pear <b>" not in page
    assert "data:image/" in page

    leaked = list(csv.DictReader(io.StringIO((found.path / "leaked.csv").read_text(encoding="utf-8"))))
    assert len(leaked) == 6
    assert all(
        row["split"] in ("train", "val") and row["test_image"].startswith("test/pear <b>/=copy-") for row in leaked
    )
    # What it lists can be left out.
    dataset = load(faulty, exclude=read_list(found.path / "leaked.csv"))
    assert len(dataset.test) == 66
    assert "Left out as asked: 6 images." in dataset.notes


def test_both_of_a_contradictory_pair_are_listed(faulty: Path, tmp_path: Path) -> None:
    found = diagnose(faulty, 0.5, out=tmp_path / "out", threads=1)
    listed = read_list(found.path / "contradictory.csv")
    assert {item.label for item in listed} == {"apple", "梨"}
    assert any(item.image == "train/梨/=twin.png" for item in listed)
    assert "'=" not in str(listed)
    # There was no time for networks, and it says so.
    assert "No network was trained" in (found.path / REPORT).read_text(encoding="utf-8")


def test_healthy_data(tmp_path: Path, fill_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = fill_folder(tmp_path / "fruit", 80, size=(12, 12))
    found = rung.diagnose(folder, "1s")
    assert found.findings == ()
    assert found.lists == ()
    assert found.path.parent == Path("diagnoses")
    assert "Nothing found" in found.report.read_text(encoding="utf-8")


def test_a_run_is_diagnosed_with_its_images(faulty: Path, tmp_path: Path) -> None:
    run = train(faulty, epochs=1, threads=1, out=tmp_path / "run")
    found = diagnose(run.path)
    (leaked,) = (finding for finding in found.findings if finding.kind == "leaked_test_images")
    assert "without them the accuracy is" in leaked.statement
    assert leaked.remedy.settings == {"exclude": str(run.path / "leaked.csv")}
    assert len(read_list(run.path / "leaked.csv")) == 6
    assert "leaked test images" in found.report.read_text(encoding="utf-8")
    assert [each["kind"] for each in Run(run.path).read_json(FINDINGS)["findings"]] == [
        finding.kind for finding in found.findings
    ]


def test_a_run_without_its_images(finished: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(finished.path, tmp_path / "run"))
    copy.update(settings={**copy.info["settings"], "data": str(tmp_path / "gone")})
    assert diagnose(copy.path).path == copy.path


def test_what_is_refused(finished: Run, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not apply"):
        diagnose(finished.path, "1m")
    with pytest.raises(UsageError, match="not a length of time"):
        diagnose(folder, "soon")
    with pytest.raises(DataError):
        diagnose(tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunError, match="not empty"):
        diagnose(folder, 0.5, out=tmp_path / "full")


def test_large_images_and_every_gallery(tmp_path: Path) -> None:
    """A stamp in large images, a test split from elsewhere, and a class much smaller than the others."""
    random = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 30)):
        for label, name in enumerate(("a", "b", "c")):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count // (6 if name == "c" else 1)):
                image = random.integers(0, 160 if split == "train" else 60, (9, 9, 3)).repeat(8, 0).repeat(8, 1)
                image[:16, :16] = 80 * label
                Image.fromarray(image.astype(np.uint8)).save(folder / f"{number}.png")
    found = diagnose(tmp_path / "data", 0.5, image_size=72, out=tmp_path / "out", threads=1)
    kinds = {finding.kind for finding in found.findings}
    assert {"shortcut", "distribution_shift", "class_imbalance"} <= kinds
    page = found.report.read_text(encoding="utf-8")
    assert 'class="box"' in page and "training images" in page and 'class="counts"' in page
