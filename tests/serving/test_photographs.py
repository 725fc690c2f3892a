"""Photographs of many sizes: a pretrained network is fine-tuned on them, judged, asked and served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from sklearn.datasets import load_sample_images

from rung.models import backbones
from rung.pipeline import evaluate, train
from rung.prediction import predict
from rung.runs import Run

from .conftest import serving

pytestmark = pytest.mark.skipif(not backbones.is_installed(), reason="rung[pretrained] is not installed")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of the two photographs that scikit-learn brings along, of 50 to 200 pixels a side."""
    folder = tmp_path_factory.mktemp("data") / "photographs"
    random = np.random.default_rng(0)
    for kind, picture in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / kind).mkdir(parents=True)
        for number in range(50):
            height, width = random.integers(50, 200, 2)
            top, left = random.integers(0, (picture.shape[0] - height, picture.shape[1] - width))
            piece = Image.fromarray(picture[top : top + height, left : left + width])
            piece.save(folder / kind / f"{number}.{'jpg' if number % 2 else 'png'}")
    return folder


def _trained(photographs: Path, out: Path) -> Run:
    return train(photographs, epochs=1, image_size=64, learns="upper", out=out)


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _trained(photographs, tmp_path_factory.mktemp("run") / "run")


def test_its_upper_blocks_have_learnt(run: Run) -> None:
    network = run.info["recipe"]["network"]
    assert (network["name"], network["learns"]) == ("pretrained", "upper")
    assert run.history[0].step == 0 and run.history[-1].step > 1
    assert run.evaluation.accuracy >= 0.8
    assert "--learns upper" in run.info["command"]


def test_judging_it_again_and_training_it_again_give_the_same(run: Run, photographs: Path, tmp_path: Path) -> None:
    assert evaluate(run).confusion_matrix == run.evaluation.confusion_matrix
    again = _trained(photographs, tmp_path / "again")
    name = "model.safetensors"
    assert (again.path / name).read_bytes() == (run.path / name).read_bytes()


def test_a_file_gets_the_same_answer_from_a_server(run: Run, photographs: Path) -> None:
    files = sorted(photographs.rglob("1[0-9].*"))
    expected = {answer.path: answer.label for answer in predict(run, files)}
    assert np.mean([Path(path).parent.name == label for path, label in expected.items()]) >= 0.8
    with serving(run) as address:
        for file in files[:4]:
            answer = requests.post(f"{address}/predict", data=file.read_bytes(), timeout=30).json()["predictions"][0]
            assert answer["label"] == expected[str(file)]
