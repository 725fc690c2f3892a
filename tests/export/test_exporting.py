"""Exporting a run: what is written, what is refused, and that nothing is kept that disagrees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rung.errors import RungError, UsageError
from rung.export import exporting
from rung.export.exporting import Agreement, compare, export_run
from rung.export.onnx import answers
from rung.export.target import target
from rung.runs import Run


def test_onnx_agrees_with_the_run(run: Run) -> None:
    made = export_run(run, "onnx")
    assert made.path == run.path / "export" / "model.onnx"
    assert made.agreement and made.agreement.images == run.evaluation.test_images
    assert made.recorded and made.recorded.difference < 1e-3
    assert made.bytes == made.path.stat().st_size
    assert json.loads(json.dumps(made.to_dict()))["agreement"]["same_labels"] == 1.0
    assert [file.name for file in made.path.parent.iterdir()] == ["model.onnx"]


def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    first, second = (export_run(run, "onnx", out=tmp_path / f"{name}.onnx").path for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_what_disagrees_is_not_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(target("onnx"), answers=lambda path: lambda images: np.full((len(images), 3), 1 / 3, np.float32))
    monkeypatch.setattr(exporting, "target", lambda name: wrong)
    with pytest.raises(RungError, match="does not agree with the run"):
        export_run(run, "onnx")
    assert list((run.path / "export").iterdir()) == []


def test_eight_bits_tell_what_they_cost(run: Run) -> None:
    made = export_run(run, "onnx", quantize="int8")
    assert made.path.name == "model-int8.onnx"
    assert made.change is not None
    low, high = made.change.interval
    assert low <= made.change.difference <= high
    assert made.change.after == pytest.approx(made.change.before + made.change.difference)
    weights = [numpy_helper.to_array(each) for each in onnx.load(made.path).graph.initializer]
    whole = [values for values in weights if values.dtype == np.int8 and values.ndim == 4]
    convolutions = sum(len(stage) for stage in run.info["recipe"]["network"]["stages"])
    # Of eight bits, sums of products overflow on processors without VNNI: a model that had 79 % then had 34 %.
    assert len(whole) == convolutions and all(np.abs(values.astype(int)).max() <= 64 for values in whole)
    assert made.change.difference > -0.2
    assert {answer.dtype.name for answer in [answers(made.path)(np.zeros((2, 16, 16, 3), np.uint8))]} == {"float32"}


def test_without_its_data_a_run_is_checked_on_generated_images(run: Run) -> None:
    info = run.info
    run.update(settings={**info["settings"], "data": "/nowhere/to/be/found"})
    made = export_run(run, "onnx")
    assert made.agreement.images == 256 and made.recorded is None
    assert made.note and "generated images" in made.note
    with pytest.raises(RungError, match="nowhere"):
        export_run(run, "onnx", quantize="int8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "tflite"}, "must be one of"),
        ({"quantize": "int4"}, "only int8"),
        ({"to": "torch", "quantize": "int8"}, "goes with --to onnx"),
        ({"out": "model.bin"}, "ends in .onnx"),
        ({"to": "torch", "out": "model.pt2"}, "a folder"),
    ],
)
def test_wrong_usage(run: Run, options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        export_run(run, **options)


@pytest.mark.parametrize("to", ["torch", "web"])
def test_a_folder_with_other_things_is_left_alone(to: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("…", encoding="utf-8")
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="other things"):
        export_run(run, to, out=tmp_path / "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"


def test_a_folder_export_lists_what_it_writes_and_replaces_it(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        made = export_run(run, "torch", out=tmp_path / "torch")
        assert {file.name for file in made.path.iterdir()} == set(target("torch").contents)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UsageError, match="is no file"):
        export_run(run, "onnx", out=tmp_path / "pipe.onnx")


def test_a_link_is_replaced_not_followed(run: Run, tmp_path: Path) -> None:
    link = tmp_path / "model.onnx"
    try:
        link.symlink_to(tmp_path / "gone" / "model.onnx")
    except OSError:
        pytest.skip("links cannot be made here")
    assert export_run(run, "onnx", out=link).path == link
    assert link.is_file() and not link.is_symlink()


def test_the_folder_that_one_is_in(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_run(run, "torch", out=".")
    assert {file.name for file in (tmp_path / "here").iterdir()} == set(target("torch").contents)
    assert {file.name for file in tmp_path.iterdir()} == {"here", "run"}


def test_a_missing_package_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rung.export.needs.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'rung\[export\]'"):
        export_run(run, "onnx")


def test_agreement_is_measured_and_judged() -> None:
    expected = np.array([[0.6, 0.4], [0.3, 0.7]], np.float32)
    assert compare(expected, expected) == Agreement(2, 1.0, 0.0)
    assert not compare(expected, expected[::-1])
    assert not compare(expected, expected + np.float32(0.002))


def test_torch_opens_without_rung(run: Run, tmp_path: Path) -> None:
    made = export_run(run, "torch", out=tmp_path / "torch")
    assert {file.name for file in made.path.iterdir()} == {"README.md", "model.pt2", "model.safetensors"}
    program = """
import json, sys
sys.modules["rung"] = None
import torch
from safetensors.torch import load_file
files = {"rung.json": ""}
model = torch.export.load("model.pt2", extra_files=files).module()
classes = json.loads(json.loads(files["rung.json"])["classes"])
probabilities = model(torch.zeros((5, 16, 16, 3), dtype=torch.uint8))
assert probabilities.shape == (5, 3) and classes[2] == "梨", classes
assert "head.weight" in load_file("model.safetensors")
"""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    subprocess.run([sys.executable, "-c", program], cwd=made.path, check=True, env=environment)
