"""A trained run behind HTTP: the same answers as from Python, quick to start, and silent about the machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from rung.data import read_image
from rung.data.names import KNOWN
from rung.diagnosis.finding import Finding, Remedy
from rung.errors import RunError
from rung.models.classifier import Classifier
from rung.runs import MODEL, NEIGHBOURS, RUN, SERVING, Run
from rung.serving.card import without_folders
from rung.serving.examples import Examples, at_hand
from rung.serving.onnx import OnnxPredictor

from .conftest import CLASSES, SIDE, serving


@pytest.fixture(scope="module")
def address(run: Run) -> Iterator[str]:
    with serving(run) as address:
        yield address


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    shutil.copytree(run.path, tmp_path / "copy")
    return Run(tmp_path / "copy")


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def when_ready(ask: Any) -> Any:
    """The answer, once it is no longer being prepared."""
    for _ in range(200):
        answer = ask().json()
        if answer["state"] not in ("loading", "building"):
            return answer
        time.sleep(0.05)
    raise AssertionError("never ready")


def test_the_same_files_get_the_same_probabilities_as_in_python(run: Run, address: str, photographs: Path) -> None:
    from rung.training.weights import load_classifier

    files = files_of(photographs)[:40]
    sent = [("files", (file.name, file.read_bytes())) for file in files]
    answers = requests.post(address + "/predict?all=true", files=sent).json()["predictions"]
    model: Classifier = load_classifier(run)
    import torch

    pixels = np.stack([read_image(file, (SIDE, SIDE), 3) for file in files])
    expected = model.predict(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose([answer["probabilities"] for answer in answers], expected, atol=1e-3)
    assert [answer["class"] for answer in answers] == expected.argmax(1).tolist()
    assert {answer["label"] for answer in answers} <= set(CLASSES)
    by_tensor = requests.post(
        address + "/v2/models/fruit/infer",
        json={
            "inputs": [{"name": "images", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.tolist()}]
        },
    ).json()
    np.testing.assert_allclose(np.ravel(expected), by_tensor["outputs"][0]["data"], atol=1e-3)


def test_an_explanation_shows_what_the_model_sees(address: str, photographs: Path) -> None:
    content = files_of(photographs)[0].read_bytes()
    answer = requests.post(address + "/explain", files={"f": content}).json()
    heat = np.array(answer["heat"]["values"])
    assert heat.shape == (SIDE, SIDE) and heat.min() >= 0 and heat.max() <= 1
    assert 0 <= answer["heat"]["probability_without"] <= 1 and answer["heat"]["place"]
    for name in ("seen", "normalised"):
        assert answer[name].startswith("data:image/png;base64,")
    two = [("f", content), ("f", content)]
    assert requests.post(address + "/explain", files=two).status_code == 422
    assert requests.post(address + "/explain", files={"f": b"x"}).status_code == 422


def test_test_images_come_as_the_model_takes_them(run: Run, address: str) -> None:
    from rung.pipeline.afterwards import dataset_of

    found = when_ready(lambda: requests.get(address + "/examples?count=6&seed=3"))["images"]
    assert len({image["label"] for image in found}) == len(CLASSES)  # of every class in turn
    assert found != requests.get(address + "/examples?count=6&seed=4").json()["images"]
    test = dataset_of(run).test
    for image in found:
        content = requests.get(f"{address}/examples/{image['index']}.png").content
        assert (read_image(content, (SIDE, SIDE), 3) == test.take([image["index"]])[0]).all()


def test_a_training_image_is_most_like_itself(run: Run, address: str) -> None:
    from rung.pipeline.afterwards import dataset_of
    from rung.serving.explain import png

    train = dataset_of(run).train
    content = png(train.take([11])[0])
    found = when_ready(lambda: requests.post(address + "/similar", files={"f": content}))["images"]
    assert found[0]["index"] == 11 and found[0]["likeness"] == pytest.approx(1, abs=1e-3)
    assert [one["likeness"] for one in found] == sorted((one["likeness"] for one in found), reverse=True)
    assert (run.path / NEIGHBOURS).is_file()


def test_no_answer_tells_where_anything_is(run: Run, address: str) -> None:
    finding = Finding(
        "wrong_labels",
        "serious",
        f"see {run.path}/a b",
        Remedy("Look at '/srv/my list/x.csv' <b>again</b>.", "rung train /srv/x/y", {"exclude": "/srv/x/y"}),
    )
    run.write_json("findings.json", [finding.to_dict()])
    try:
        for path in (
            "/",
            "/docs",
            "/model",
            "/metrics",
            "/health",
            "/openapi.json",
            "/v2",
            "/v2/models/fruit",
            "/examples",
        ):
            text = requests.get(address + path).text
            assert "secret" not in text and "/srv" not in text and str(Path.home()) + "/" not in text, path
        assert "Look at &#39;x.csv&#39; &lt;b&gt;again" in requests.get(address + "/").text
        assert requests.get(address + "/model").json()["findings"] == [
            {
                "kind": "wrong_labels",
                "severity": "serious",
                "statement": "see a b",
                "remedy": "Look at 'x.csv' <b>again</b>.",
            }
        ]
    finally:
        (run.path / "findings.json").unlink(missing_ok=True)


def test_paths_become_names() -> None:
    for text, expected in {
        "see /home/me/photos/cats/1.png now": "see 1.png now",
        r"in C:\Users\me\photos": "in photos",
        "'/srv/data/x'": "'x'",
        "'/srv/my data/x' and 'a/b'": "'x' and 'a/b'",
        r"in \\nas\share\x": "in x",
        repr(r"C:\Users\me\photos"): "'photos'",
        repr(r"\\nas\share\x"): "'x'",
        "file:///srv/a/b.png": "b.png",
        "images/s and https://example.org/a/b": "images/s and https://example.org/a/b",
        "cats/1.png or dogs": "cats/1.png or dogs",
    }.items():
        assert without_folders(text) == expected


def test_known_paths_become_names_whatever_is_in_them() -> None:
    known = ["/home/jane doe/my photos", r"C:\Users\jane doe\pics", r"\\nas\my share", "/data", str(Path.home())]
    for text, expected in {
        "see /home/jane doe/my photos/x now": "see x now",
        "see /home/jane doe/my photos.": "see my photos.",
        r"in C:\Users\jane doe\pics\a b.png": "in a b.png",
        r"in C:\\Users\\jane doe\\pics": "in pics",
        r"in \\nas\my share\x": "in x",
        "/database and images/data/x": "/database and images/data/x",
        "in /data-2/x, /data.old/x, /data.": "in x, x, data.",
        f"in {Path.home()}": "in ~",
        f"in {Path.home()}/a/b": "in b",
    }.items():
        assert without_folders(text, known) == expected


def test_hostile_names_stay_text(address: str) -> None:
    page = requests.get(address + "/").text
    assert "&lt;b&gt;pear" in page and "<b>pear" not in page


def test_the_model_is_exported_once_and_again_when_it_has_changed(copied: Run) -> None:
    (copied.path / SERVING).unlink(missing_ok=True)
    pixels = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    first = OnnxPredictor.open(copied)
    assert first.rows(pixels).shape[1] > len(CLASSES)
    written = (copied.path / SERVING).stat().st_mtime_ns
    OnnxPredictor.open(copied)
    assert (copied.path / SERVING).stat().st_mtime_ns == written
    (copied.path / SERVING).write_bytes(b"damaged")
    np.testing.assert_array_equal(OnnxPredictor.open(copied).rows(pixels), first.rows(pixels))
    from safetensors.numpy import load, save

    weights = load(copied.read_bytes(MODEL))
    copied.write_bytes(MODEL, save({**weights, "temperature": np.array(weights["temperature"] * 9)}))
    changed = OnnxPredictor.open(copied).rows(pixels)[:, : len(CLASSES)]
    assert changed.max() < first.rows(pixels)[:, : len(CLASSES)].max()


def test_a_run_without_weights_or_with_damaged_ones(copied: Run) -> None:
    copied.write_bytes(MODEL, b"nothing")
    with pytest.raises(RunError, match="damaged"):
        OnnxPredictor.open(copied)
    (copied.path / MODEL).unlink()
    with pytest.raises(RunError, match="--resume"):
        OnnxPredictor.open(copied)


def test_without_its_data_a_run_is_served_without_examples(copied: Run, photographs: Path) -> None:
    copied.update(settings={**copied.info["settings"], "data": "/nowhere/at/all"})
    with serving(copied) as address:
        assert when_ready(lambda: requests.get(address + "/examples"))["state"] == "gone"
        content = files_of(photographs)[0].read_bytes()
        assert requests.post(address + "/similar", files={"f": content}).json()["state"] == "gone"
        assert requests.post(address + "/predict", files={"f": content}).status_code == 200


def test_no_server_downloads_the_data_of_its_run(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*arguments: object) -> Path:
        raise AssertionError("asked for a download")

    monkeypatch.setattr("rung.data.resolve.fetch", fetch)
    copied.update(settings={**copied.info["settings"], "data": "cifar10"})
    examples = Examples(copied)
    examples.start()
    examples.wait(30)
    assert examples.state == "gone"


def test_named_data_that_is_at_hand_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path))
    assert at_hand("digits") and at_hand("some/folder") and not at_hand("cifar10")
    for download in KNOWN["cifar10"].downloads:
        (tmp_path / "downloads" / "cifar10").mkdir(parents=True, exist_ok=True)
        (tmp_path / "downloads" / "cifar10" / download.file).touch()
    assert at_hand("cifar10") and not at_hand("mnist")
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("RUNG_DATA", str(tmp_path))
    assert at_hand("mnist")


@contextlib.contextmanager
def command(run: Run, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``rung serve`` in a process of its own, once it takes requests."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rung", "serve", str(run.path), "--port", "0", "--json", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="signals of Windows cannot be sent to one process")
def test_the_command_starts_without_torch_and_stops_when_told(run: Run, address: str) -> None:
    with command(run, RUNG_TOKEN="of the environment") as (process, url):
        assert requests.get(url + "/health").status_code == 200
        assert requests.get(url + "/model").status_code == 401
        maps = Path(f"/proc/{process.pid}/maps")
        if maps.exists():
            assert "libtorch" not in maps.read_text()
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def test_the_command_refuses_what_is_no_run(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "rung", "serve", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1 and RUN in done.stderr and "Traceback" not in done.stderr
