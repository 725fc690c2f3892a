"""ONNX models against the classifiers that they are made from."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rung.export.onnx import IR_VERSION, OPSET, onnx_model
from rung.models import NetworkConfig
from rung.models.classifier import Classifier
from rung.models.fast import FastConfig

ABOUT = {"rung": "0", "classes": '["a", "b", "c", "d", "梨 <b>"]', "image_size": "[14, 17]", "channels": "3"}


def answers(model: onnx.ModelProto, pixels: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": pixels})


@pytest.mark.parametrize("views", [1, 2, 6])
def test_probabilities_are_those_of_the_classifier(
    network: NetworkConfig, views: int, make_classifier: Callable[..., Classifier], pixels: Callable[..., np.ndarray]
) -> None:
    classifier = make_classifier(network, views)
    model = onnx_model(classifier, ABOUT)
    for images in (1, 7):
        (found,) = answers(model, pixels(images))
        with torch.inference_mode():
            expected = classifier.predict(torch.from_numpy(pixels(images))).numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_grey_images(make_classifier: Callable[..., Classifier], pixels: Callable[..., np.ndarray]) -> None:
    classifier = make_classifier(FastConfig(((8, 8),)), channels=1)
    (found,) = answers(onnx_model(classifier, {**ABOUT, "channels": "1"}), pixels(channels=1))
    np.testing.assert_allclose(found, classifier.predict(torch.from_numpy(pixels(channels=1))), atol=2e-5)


def test_features_are_what_the_last_layer_takes(
    make_classifier: Callable[..., Classifier], pixels: Callable[..., np.ndarray]
) -> None:
    classifier = make_classifier(FastConfig(((8, 12),)), views=2)
    probabilities, features = answers(onnx_model(classifier, ABOUT, features=True), pixels())
    logits = features @ classifier.network.head.weight.numpy().T / 9 / 1.7
    assert features.shape == (7, 12)
    np.testing.assert_allclose(torch.from_numpy(logits).softmax(1), probabilities, atol=2e-5)


def test_the_file_tells_about_itself(make_classifier: Callable[..., Classifier]) -> None:
    model = onnx_model(make_classifier(FastConfig(((8, 8),))), ABOUT)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["classes"])[4] == "梨 <b>"
    assert float(told["temperature"]) == pytest.approx(1.7)
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert {node.op_type for node in model.graph.node}.isdisjoint({"BatchNormalization"})
