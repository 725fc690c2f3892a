"""Keras models of every network, opened by Keras as anybody opens them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("tensorflow", exc_type=ImportError)

from rung.errors import UsageError
from rung.export.exporting import export_run
from rung.export.keras import ABOUT, _keras, answers, keras_model
from rung.models import NetworkConfig
from rung.models.classifier import Classifier
from rung.runs import Run

TOLD = {"rung": "0", "classes": '["a", "b", "c", "d", "e"]', "image_size": "[14, 17]", "channels": "3"}


def test_every_network(
    network: NetworkConfig,
    make_classifier: Callable[..., Classifier],
    pixels: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    classifier = make_classifier(network, views=6)
    path = tmp_path / "model.keras"
    keras_model(classifier, TOLD).save(path)
    expected = classifier.predict(torch.from_numpy(pixels())).numpy()
    np.testing.assert_allclose(answers(path)(pixels()), expected, atol=2e-5)


def test_a_run_opens_without_rung(run: Run) -> None:
    made = export_run(run, "keras")
    assert made.agreement
    with zipfile.ZipFile(made.path) as archive:
        assert json.loads(json.loads(archive.read(ABOUT))["classes"])[2] == "梨"
    program = """
import sys
sys.modules["rung"] = None
import keras, numpy
model = keras.models.load_model("model.keras")
assert model.predict(numpy.zeros((2, 16, 16, 3), "uint8"), verbose=0).shape == (2, 3)
assert {layer.__module__.split(".")[0] for layer in model.layers} == {"keras"}
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", program], cwd=made.path.parent, check=True, env=environment)


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    _keras.__wrapped__()
    assert not {"TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"} & set(os.environ)


def test_an_engine_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Keras cannot start its engine"):
        _keras.__wrapped__()
