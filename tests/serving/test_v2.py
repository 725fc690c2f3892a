"""The KServe/Triton protocol, spoken by Triton's own client and by hand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from rung.runs import Run

from .conftest import SIDE, Shades, serving

PIXELS = np.stack([np.full((SIDE, SIDE, 3), shade, np.uint8) for shade in (5, 130, 250)])
EXPECTED = Shades().rows(PIXELS)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    run = Run.create(tmp_path_factory.mktemp("v2") / "run", "shades", {"status": "finished"})
    with serving(run, predictor=Shades(), examples=False) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with contextlib.closing(triton.InferenceServerClient(urlsplit(address).netloc)) as client:
        yield client


def images(pixels: np.ndarray = PIXELS, binary: bool = True) -> list[triton.InferInput]:
    tensor = triton.InferInput("images", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=binary)
    return [tensor]


def test_server_and_model_tell_about_themselves(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shades")
    assert client.is_model_ready("shades", "1") and not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata("shades")
    assert about["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]}]
    assert [output["name"] for output in about["outputs"]] == ["probabilities", "label"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tensors_go_there_and_back(client: triton.InferenceServerClient, binary_in: bool, binary_out: bool) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("label", "probabilities")]
    answer = client.infer("shades", images(binary=binary_in), outputs=outputs, request_id="seven", model_version="1")
    np.testing.assert_allclose(answer.as_numpy("probabilities"), EXPECTED, rtol=1e-6)
    assert answer.as_numpy("label").tolist() == [0, 1, 2]
    assert answer.get_response()["id"] == "seven"


def test_all_outputs_without_being_asked(client: triton.InferenceServerClient) -> None:
    answer = client.infer("shades", images())
    np.testing.assert_allclose(answer.as_numpy("probabilities"), EXPECTED, rtol=1e-6)
    assert answer.as_numpy("label").tolist() == [0, 1, 2]


@pytest.mark.parametrize("binary", [True, False])
def test_classes_by_name(client: triton.InferenceServerClient, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    named = client.infer("shades", images(), outputs=outputs).as_numpy("probabilities")
    texts = [text.decode() if isinstance(text, bytes) else text for text in named.reshape(-1).tolist()]
    assert [text.split(":")[2] for text in texts[::2]] == ["dark", "medium", "bright"]


def test_what_the_client_is_told_when_it_asks_wrongly(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no such model"):
        client.infer("other", images())
    with pytest.raises(InferenceServerException, match=r"\[N, 12, 12, 3\]"):
        client.infer("shades", images(PIXELS[:, :5]))


GOOD = {"name": "images", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], "data": PIXELS[0].tolist()}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        {"inputs": []},
        {"inputs": [3]},
        {"inputs": [GOOD, GOOD]},
        {"inputs": [{**GOOD, "name": "x"}]},
        {"inputs": [{**GOOD, "datatype": "FP32"}]},
        {"inputs": [{**GOOD, "shape": "x"}]},
        {"inputs": [{**GOOD, "shape": [True, SIDE, SIDE, 3]}]},
        {"inputs": [{**GOOD, "shape": [0, SIDE, SIDE, 3]}]},
        {"inputs": [{**GOOD, "shape": [2, SIDE, SIDE, 3]}]},
        {"inputs": [{**GOOD, "data": [[1], [1, 2]]}]},
        {"inputs": [{**GOOD, "data": [256] * SIDE * SIDE * 3}]},
        {"inputs": [{**GOOD, "data": ["x" * 200_000] + [""] * (SIDE * SIDE * 3 - 1)}]},
        {"inputs": [{**GOOD, "data": [[1] * (SIDE * SIDE), [1] * (2 * SIDE * SIDE)]}]},
        {"inputs": [{**GOOD, "data": [True] * SIDE * SIDE * 3}]},
        {"inputs": [{**GOOD, "data": [-1] * SIDE * SIDE * 3}]},
        {"inputs": [{**GOOD, "data": [10**30] * SIDE * SIDE * 3}]},
        {"inputs": [{**GOOD, "data": [0.5] * SIDE * SIDE * 3}]},
        {"inputs": [{**GOOD, "data": None}]},
        {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3]}]},
        {"inputs": [{**GOOD, "parameters": 3}]},
        {"inputs": [{**GOOD, "parameters": {"binary_data_size": 10**9}}]},
        {"inputs": [{**GOOD, "parameters": {"shared_memory_region": "x"}}], "outputs": "x"},
        {"inputs": [GOOD], "outputs": [{"name": "features"}]},
        {"inputs": [GOOD], "outputs": [{"name": []}]},
        {"inputs": [GOOD], "outputs": [{"name": "label"}] * 9},
        {"inputs": [GOOD], "outputs": [{"name": "label", "parameters": {"classification": 1}}]},
        {"inputs": [GOOD], "outputs": [{"name": "probabilities", "parameters": {"classification": "x"}}]},
        {"inputs": [GOOD], "parameters": []},
    ],
)
def test_bodies_that_are_not_of_the_protocol(address: str, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = requests.post(address + "/v2/models/shades/infer", data=content)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


@pytest.mark.parametrize("length", ["x", "-1", "99999999", "²", "", "9" * 5000])
def test_lengths_that_are_none(address: str, length: str) -> None:
    headers = {"inference-header-content-length": length.encode("latin-1")}
    answer = requests.post(address + "/v2/models/shades/infer", data=json.dumps({"inputs": [GOOD]}), headers=headers)
    assert answer.status_code == 400


def test_too_many_images(shades: Callable[..., Any]) -> None:
    with shades(limits={"files": 2}) as address:
        body = {"inputs": [{**GOOD, "shape": [3, SIDE, SIDE, 3], "data": PIXELS.reshape(-1).tolist()}]}
        assert requests.post(address + "/v2/models/shades/infer", json=body).status_code == 413


def test_json_longer_than_the_images_need_is_not_parsed(
    shades: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with shades(limits={"files": 2}) as address:
        url = address + "/v2/models/shades/infer"
        two = {**GOOD, "shape": [2, SIDE, SIDE, 3], "data": PIXELS[1:].tolist()}
        assert requests.post(url, json={"inputs": [two]}).status_code == 200
        monkeypatch.setattr("json.loads", None)
        assert requests.post(url, data=b"[" + b"{}," * 50_000 + b"{}]").status_code == 413
