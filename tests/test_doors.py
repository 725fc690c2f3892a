"""The same pixels in, the same answer out, whatever door they come through.

A door is a function from a run and some files to probabilities, (N, K), in the order of the files. A new one is a line
in ``DOORS``.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from PIL import Image

import rung
from rung.data import read_image
from rung.export.exporting import export_run
from rung.export.target import target
from rung.runs import Run
from rung.serving.server import address_of, prepare

Door = Callable[[Run, list[Path]], np.ndarray]


def through_the_command_line(run: Run, files: list[Path]) -> np.ndarray:
    command = [sys.executable, "-m", "rung", "predict", str(run.path), *map(str, files), "--format", "json"]
    result = subprocess.run([*command, "--top-k", "99", "-q"], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == [str(file) for file in files]
    told = [{entry["label"]: entry["probability"] for entry in row["top"]} for row in rows]
    return np.array([[row[name] for name in run.info["data"]["classes"]] for row in told])


def through_an_export(to: str) -> Door:
    def door(run: Run, files: list[Path]) -> np.ndarray:
        made = export_run(run, to)
        images = np.stack([read_image(file, tuple(run.info["data"]["image_size"]), 3) for file in files])
        return target(to).answers(made.path)(images)

    return door


@contextlib.contextmanager
def served(run: Run) -> Iterator[str]:
    server, listener = prepare(run, host="127.0.0.1", port=0, examples=False)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address_of(listener, "127.0.0.1")
    finally:
        server.should_exit = True
        thread.join()


def through_http(run: Run, files: list[Path]) -> np.ndarray:
    with served(run) as address:
        sent = [("files", (file.name, file.read_bytes())) for file in files]
        answer = requests.post(f"{address}/predict?all=true", files=sent).json()
    return np.array([prediction["probabilities"] for prediction in answer["predictions"]])


def through_the_v2_protocol(run: Run, files: list[Path]) -> np.ndarray:
    images = np.stack([read_image(file, tuple(run.info["data"]["image_size"]), 3) for file in files])
    tensor = triton.InferInput("images", list(images.shape), "UINT8").set_data_from_numpy(images)
    with served(run) as address:
        name = requests.get(f"{address}/model").json()["name"]
        with contextlib.closing(triton.InferenceServerClient(urlsplit(address).netloc)) as client:
            return client.infer(name, [tensor]).as_numpy("probabilities")


DOORS: dict[str, Door] = {
    "command line": through_the_command_line,
    "http": through_http,
    "v2": through_the_v2_protocol,
    "onnx": through_an_export("onnx"),
    "torch": through_an_export("torch"),
    "keras": through_an_export("keras"),
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, fruit: Path) -> list[Path]:
    """Images as the run knows them, and such as it has never seen: large, grey, transparent, JPEG, turned by EXIF."""
    folder = tmp_path_factory.mktemp("strangers")
    random = np.random.default_rng(0)
    large = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8)).resize((480, 360), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    large.save(folder / "turned.jpg", exif=turned)
    large.convert("L").save(folder / "grey.png")
    large.convert("RGBA").save(folder / "alpha.webp", lossless=True)
    return [*sorted(fruit.rglob("*.png"))[::6], *sorted(folder.iterdir())]


@pytest.mark.parametrize("name", list(DOORS))
def test_every_door_gives_the_same_answers(name: str, run: Run, files: list[Path]) -> None:
    if name == "keras":
        pytest.importorskip("tensorflow", exc_type=ImportError)
    expected = np.stack([prediction.probabilities for prediction in rung.predict(run, files)])
    found = DOORS[name](run, files)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
    np.testing.assert_allclose(found, expected, atol=1e-3)
