"""A Keras model of a run, from standard layers alone: it opens in Keras 3 without rung, and without trusting any code.

Keras keeps the channels last. So filters and the order of a flattening are turned, and nothing else differs from the
ONNX model: both are written from the operations of ``graph.py``.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rung.errors import RungError, UsageError
from rung.export.onnx import metadata
from rung.export.target import Answers, Target
from rung.models.classifier import Classifier, view_weights
from rung.models.graph import INPUT, Operation, operations
from rung.progress import Progress
from rung.runs import Run

ABOUT = "rung.json"
"""A file inside the ``.keras`` archive, which Keras leaves alone: class names and what else ONNX has as metadata."""


@cache
def _keras() -> Any:
    """Keras, on the engine that its user has chosen, by default TensorFlow; which keeps quiet about its start."""
    told = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = told or "3"
    try:
        import keras
    except ImportError as error:
        raise UsageError(f"Keras cannot start its engine ({error}); KERAS_BACKEND=tensorflow chooses one") from error
    finally:
        if told is None:
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    return keras


def keras_model(model: Classifier, about: dict[str, str]) -> Any:
    """The ``keras.Model`` of a classifier: uint8 images (N, H, W, C) in, probabilities (N, K) out.

    Its layer ``network`` is a model by itself, from normalised images to logits, for those who want to train on.

    Raises:
        RungError: the network does something that no export knows.
    """
    keras = _keras()
    height, width = json.loads(about["image_size"])
    channels = json.loads(about["channels"])
    network = _network(operations(model.network), (height, width, channels))
    images = keras.Input((height, width, channels), dtype="uint8", name="images")
    deviation = model.std.double().cpu().numpy()
    normalise = keras.layers.Normalization(
        mean=model.mean.cpu().numpy().tolist(), variance=(deviation**2).tolist(), name="normalise"
    )
    weights = view_weights(model.views, (height, width))
    logits = [
        keras.layers.Rescaling(weight, name=f"weight_{place}")(network(view))
        for place, (view, weight) in enumerate(zip(_views(normalise(images), len(weights)), weights, strict=True))
    ]
    total = logits[0] if len(logits) == 1 else keras.layers.Add(name="average")(logits)
    calibrated = keras.layers.Rescaling(1 / float(model.temperature), name="calibrate")(total)
    return keras.Model(images, keras.layers.Softmax(name="probabilities")(calibrated), name="rung")


def _views(upright: Any, count: int) -> list[Any]:
    keras = _keras()
    if count == 1:
        return [upright]
    views = []
    for side in (upright, keras.ops.flip(upright, axis=2)):
        views.append(side)
        if count == 6:
            padded = keras.ops.pad(side, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")
            views += [keras.layers.Cropping2D((edges, edges))(padded) for edges in ((0, 2), (2, 0))]
    return views


def _network(steps: list[Operation], shape: tuple[int, int, int]) -> Any:
    keras = _keras()
    images = keras.Input(shape, name="normalised_images")
    tensors: dict[str, Any] = {INPUT: images}
    for step in steps:
        tensors[step.name] = _LAYERS[step.kind](step, *(tensors[name] for name in step.inputs))
    network = keras.Model(images, tensors[steps[-1].name], name="network")
    for step in steps:
        weights = _weights(step)
        if weights:
            network.get_layer(step.name).set_weights(weights)
    return network


def _convolution(step: Operation, x: Any) -> Any:
    layers = _keras().layers
    outputs, inputs, *kernel = step.weights["weight"].shape
    groups, stride = step.options["groups"], step.options["stride"]
    if any(step.options["padding"]):
        x = layers.ZeroPadding2D(step.options["padding"])(x)
    if groups == 1:
        return layers.Conv2D(outputs, kernel, stride, name=step.name)(x)
    if inputs != 1:
        raise RungError("this network cannot be exported to Keras: a convolution has groups of several channels")
    return layers.DepthwiseConv2D(kernel, stride, depth_multiplier=outputs // groups, name=step.name)(x)


def _affine(step: Operation, x: Any) -> Any:
    scale, shift = (step.weights[name].tolist() for name in ("scale", "shift"))
    return _keras().layers.Rescaling(scale, shift, name=step.name)(x)


def _dense(step: Operation, x: Any) -> Any:
    return _keras().layers.Dense(len(step.weights["weight"]), name=step.name)(x)


def _pooling(step: Operation, x: Any) -> Any:
    layers = _keras().layers
    average = step.kind == "average pooling"
    if any(step.options["padding"]):
        if not average:
            raise RungError("this network cannot be exported to Keras: a max pooling has a padding")
        x = layers.ZeroPadding2D(step.options["padding"])(x)
    kind = layers.AveragePooling2D if average else layers.MaxPooling2D
    return kind(step.options["kernel"], step.options["stride"], name=step.name)(x)


def _flatten(step: Operation, x: Any) -> Any:
    layers = _keras().layers
    if len(x.shape) == 4:
        x = layers.Permute((3, 1, 2))(x)
    return layers.Flatten(name=step.name)(x)


def _resize(step: Operation, x: Any) -> Any:
    height, width = step.options["size"]
    return _keras().layers.Resizing(height, width, interpolation="bilinear", name=step.name)(x)


_LAYERS: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "affine": _affine,
    "dense": _dense,
    "max pooling": _pooling,
    "average pooling": _pooling,
    "relu": lambda step, x: _keras().layers.ReLU(name=step.name)(x),
    "relu6": lambda step, x: _keras().layers.ReLU(6.0, name=step.name)(x),
    "gelu": lambda step, x: _keras().layers.Activation("gelu", name=step.name)(x),
    "add": lambda step, *inputs: _keras().layers.Add(name=step.name)(list(inputs)),
    "times": lambda step, x: _keras().layers.Rescaling(step.options["factor"], name=step.name)(x),
    "resize": _resize,
    "maximum": lambda step, x: _keras().layers.GlobalMaxPooling2D(name=step.name)(x),
    "mean": lambda step, x: _keras().layers.GlobalAveragePooling2D(name=step.name)(x),
    "flatten": _flatten,
}


def _weights(step: Operation) -> list[Any]:
    """What the layer of a step is given: filters as (h, w, I, O), or (h, w, I, O/I) where each channel has its own."""
    if step.kind == "dense":
        return [step.weights["weight"].T, step.weights["bias"]]
    if step.kind == "convolution":
        filters = step.weights["weight"]
        if step.options["groups"] > 1:
            filters = filters.reshape(step.options["groups"], -1, *filters.shape[2:]).transpose(2, 3, 0, 1)
        else:
            filters = filters.transpose(2, 3, 1, 0)
        return [filters, step.weights["bias"]]
    return []


def _write(run: Run, model: Classifier, path: Path, progress: Progress) -> None:
    about = metadata(run)
    keras_model(model, about).save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ABOUT, json.dumps(about, indent=2, ensure_ascii=False))


def answers(path: Path) -> Answers:
    """What the Keras model at ``path`` answers, opened as anybody opens it."""
    model = _keras().saving.load_model(path, compile=False)
    return lambda images: np.asarray(model.predict_on_batch(images), np.float32)


TARGET = Target("model.keras", "Keras", ("keras", "tensorflow"), "keras", _write, answers)
