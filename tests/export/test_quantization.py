"""The network that the export with 8 bits is made from."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from rung.data.dataset import Split
from rung.export.onnx import onnx_model
from rung.export.quantization import STEEPNESS, gelu_as_swish, write_in_8_bits
from rung.models import NetworkConfig
from rung.models.classifier import Classifier
from rung.models.fast import ACTIVATIONS, FastConfig
from rung.models.graph import Operation, operations
from rung.progress import silent

ABOUT = {"rung": "0", "classes": '["a", "b", "c", "d", "e"]', "image_size": "[14, 17]", "channels": "3"}
GELU = FastConfig(((8, 8), (12, 12)), stem_size=3, shortcuts=True, activation="gelu")

Make = Callable[..., Classifier]


def answers(model: onnx.ModelProto | Path, pixels: np.ndarray) -> np.ndarray:
    source = model if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": pixels})[0])


def probabilities(classifier: Classifier, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return classifier.predict(torch.from_numpy(pixels)).numpy()


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_export_with_8_bits_is_near_the_network(
    activation: str,
    make_classifier: Make,
    pixels: Callable[..., np.ndarray],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = pixels(200)
    classifier = make_classifier(FastConfig(((8, 8), (12, 12)), shortcuts=True, activation=activation))
    path = tmp_path / "model.onnx"
    with caplog.at_level(logging.WARNING):
        train = Split("train", images, np.arange(200), np.zeros(200, np.int64))
        write_in_8_bits(classifier, ABOUT, path, train, silent)
    assert not caplog.records and not logging.getLogger().filters
    off = np.abs(answers(path, images) - probabilities(classifier, images))
    assert 1e-6 < off.mean() < 0.01
    kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert kinds["Erf"] == 0 and kinds["Sigmoid"] == (5 if activation == "gelu" else 0)


def test_a_notebooks_logging_is_still_to_be_set_up(make_classifier: Make, tmp_path: Path) -> None:
    root, images = logging.getLogger(), np.zeros((8, 14, 17, 3), np.uint8)
    handlers, root.handlers = root.handlers, []
    try:
        train = Split("train", images, np.arange(8), np.zeros(8, np.int64))
        write_in_8_bits(make_classifier(FastConfig(((8, 8),))), ABOUT, tmp_path / "model.onnx", train, silent)
        assert root.handlers == []
    finally:
        root.handlers = handlers


def test_swish_of_larger_numbers_is_nearly_gelu(
    make_classifier: Make, pixels: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = make_classifier(GELU)
    exact = probabilities(classifier, pixels())
    monkeypatch.setitem(ACTIVATIONS, "gelu", lambda x: x * F.sigmoid(STEEPNESS * x))
    classifier.network._activate = ACTIVATIONS["gelu"]
    expected = probabilities(classifier, pixels())
    monkeypatch.undo()
    classifier = make_classifier(GELU)
    found = answers(onnx_model(classifier, ABOUT, rewrite=gelu_as_swish), pixels())
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert 1e-4 < np.abs(found - exact).max() < 0.02


def test_networks_without_gelu_stay_as_they_are(network: NetworkConfig, make_classifier: Make) -> None:
    steps = operations(make_classifier(network).network)
    changed = gelu_as_swish(steps)
    assert (changed is steps) == all(step.kind != "gelu" for step in steps)


@pytest.mark.parametrize("where", ["relu6 between", "images added later", "no dense layer", "a sum behind it"])
def test_networks_that_larger_numbers_would_change_stay_as_they_are(where: str, make_classifier: Make) -> None:
    steps = operations(make_classifier(GELU).network)
    *before, maximum, dense, times = steps
    assert [step.kind for step in (maximum, dense, times)] == ["maximum", "dense", "times"]
    changed: list[Operation] = {
        "relu6 between": [*before, Operation("six", "relu6", (before[-1].name,)), maximum, dense, times],
        "images added later": [*before, Operation("again", "add", (before[-1].name, "normalised")), maximum, dense],
        "no dense layer": [*before, maximum],
        "a sum behind it": [*steps, Operation("sum", "add", (times.name, maximum.name))],
    }[where]
    assert gelu_as_swish(changed) is changed
