"""A training that starts from a pretrained network, from photographs to a run that others can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rung.errors import UsageError
from rung.models import backbones
from rung.pipeline import evaluate, train
from rung.runs import Run

pytestmark = pytest.mark.skipif(not backbones.is_installed(), reason="rung[pretrained] is not installed")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes and rings in colours that say nothing, of mixed sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for kind in ("rings", "stripes"):
        (folder / kind).mkdir()
        for number in range(16):
            height, width = random.integers(36, 60, 2)
            y, x = np.mgrid[:height, :width] / 3
            wave = np.hypot(y - height / 6, x - width / 6) if kind == "rings" else x * random.choice([-1, 1]) + y
            pixels = (np.sin(wave)[:, :, None] * random.uniform(20, 60, 3) + random.uniform(90, 160, 3)).astype(
                np.uint8
            )
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(
        photographs, epochs=0.5, image_size=40, pretrained="always", folds=2, out=tmp_path_factory.mktemp("run") / "a"
    )


def test_a_head_on_what_imagenet_taught(run: Run) -> None:
    assert run.status == "finished"
    assert run.info["recipe"]["network"]["name"] == "pretrained"
    assert run.info["recipe"]["network"]["learns"] == "head"
    assert [row.step for row in run.history] == [1]
    assert run.evaluation.accuracy >= 0.8


def test_the_run_needs_no_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "_lite0_path", lambda: None)
    again = evaluate(run)
    assert again.accuracy == run.evaluation.accuracy
    assert again.confusion_matrix == run.evaluation.confusion_matrix


def test_the_report_says_that_it_stands_on_imagenet(run: Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "had learnt from 1.28 million photographs of ImageNet" in page
    assert "trained from scratch" not in page


def test_folds_judge_all_images(run: Run) -> None:
    found = run.info["folds"]
    assert found["images"] == sum(run.info["data"]["images"].values()) == 32
    assert found["interval"][0] <= found["accuracy"] <= found["interval"][1]
    assert "Cross-validated on all 32 images" in (run.path / "report.html").read_text(encoding="utf-8")


def test_exports_resize_as_the_network_does(run: Run) -> None:
    pytest.importorskip("onnxruntime")
    from rung.export.exporting import export_run

    assert export_run(run).path.is_file()
    assert export_run(run, "torch").path.is_dir()


def test_folds_of_a_training_from_scratch_are_refused_before_it(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--folds is for a head"):
        train(photographs, epochs=0.5, image_size=40, pretrained="never", folds=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
