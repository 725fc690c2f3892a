"""ONNX models that compute with 8-bit numbers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rung.data.dataset import Split
from rung.export.onnx import IMAGES, onnx_model
from rung.models.classifier import Classifier
from rung.models.graph import INPUT, Operation
from rung.progress import Progress

CALIBRATION = 512
"""Training images whose activations set the ranges."""

_BATCH = 64


STEEPNESS = 1.702
"""Of the logistic function that comes closest to the normal distribution function (Hendrycks and Gimpel 2016,
arXiv:1606.08415, section 2): their values are at most 0.01 apart."""

_KEEP_SCALE = {
    *("convolution", "affine", "dense", "max pooling", "average pooling", "relu", "gelu", "add", "times"),
    *("maximum", "mean", "resize", "flatten"),
}


def write_in_8_bits(model: Classifier, about: dict[str, str], path: Path, images: Split, progress: Progress) -> None:
    """Write an ONNX model of a classifier that computes with 8-bit integers in convolutions and what surrounds them.

    Weights get a scale for each output channel, activations one for each tensor, from the least and greatest values
    that they take on some images (static quantisation: Jacob et al. 2018, arXiv:1712.05877, section 3).

    Args:
        model: the classifier.
        about: the metadata of the file, :func:`rung.export.onnx.metadata`.
        path: of the file to write.
        images: to calibrate on; 512 of them, evenly spread. Take training images: the test split must not choose
            anything.
        progress: told how many images it has looked at.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    whole = onnx_model(model, about, rewrite=gelu_as_swish)
    with _without_advice():
        quantize_static(
            whole,
            path,
            _Reader(images, progress),
            quant_format=QuantFormat.QDQ,
            nodes_to_exclude=_left_in_float(whole.graph),
            op_types_to_quantize=["Conv", "Gemm", "MaxPool", "Relu", "Clip", "Add", "Sigmoid", "Mul"],
            per_channel=True,
            # Seven bits for weights: without VNNI, products of eight overflow the 16 bits that x86 adds them up in.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def gelu_as_swish(steps: list[Operation]) -> list[Operation]:
    """The network with ``swish``, x · σ(x), in place of ``gelu``: engines have the logistic function in 8 bits.

    GELU is nearly x · σ(1.702 x). Instead of multiplying before each σ, everything between the first weights and the
    last is made 1.702 times as large: these weights and the biases between them change, and no step is added. Networks
    in which that is not possible stay as they are.
    """
    weighted = [place for place, step in enumerate(steps) if step.weights]
    ways_in = [step.kind for step in steps if INPUT in step.inputs]
    if (
        not {"gelu"} <= {step.kind for step in steps} <= _KEEP_SCALE
        or ways_in != ["convolution"]
        or steps[weighted[-1]].kind != "dense"
        or any(step.kind != "times" for step in steps[weighted[-1] + 1 :])
    ):
        return steps
    found = []
    for place, step in enumerate(steps):
        weights = dict(step.weights)
        if place == weighted[-1]:
            weights["weight"] = weights["weight"] / np.float32(STEEPNESS)
        else:
            larger = {"bias", "shift", "weight"} if INPUT in step.inputs else {"bias", "shift"}
            weights.update({name: weights[name] * np.float32(STEEPNESS) for name in larger & set(weights)})
        kind = "swish" if step.kind == "gelu" else step.kind
        found.append(dataclasses.replace(step, kind=kind, weights=weights))
    return found


def _left_in_float(graph: Any) -> list[str]:
    """The names of the nodes that are not quantised.

    The first convolution's few filters see pixels far from zero, so that each bit of a weight counts: in 8 bits it cost
    0.3 points on 2,500 validation images, and the whole took an eighth less time. Of the products only those with a
    logistic function are worth it; others are of a few numbers for each image.
    """
    logistic = {node.output[0] for node in graph.node if node.op_type == "Sigmoid"}
    first = [node.name for node in graph.node if node.op_type == "Conv"][:1]
    return first + [node.name for node in graph.node if node.op_type == "Mul" and not logistic & set(node.input)]


@contextmanager
def _without_advice() -> Iterator[None]:
    """ONNX Runtime advises on the root logger what its own other tools could do first.

    Without a handler there, its first word would install one, and a notebook's own ``logging.basicConfig`` do nothing.
    """

    def is_news(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(is_news)
    try:
        yield
    finally:
        root.removeFilter(is_news)
        root.removeHandler(handler)


class _Reader:
    """Hands out batches of images, as ONNX Runtime's calibration asks for them."""

    def __init__(self, images: Split, progress: Progress) -> None:
        count = min(CALIBRATION, len(images))
        self._images = images.subset(np.linspace(0, len(images) - 1, count).round().astype(np.int64))
        self._progress = progress
        self._done = 0

    def get_next(self) -> dict[str, Any] | None:
        if self._done >= len(self._images):
            return None
        batch = self._images.take(slice(self._done, self._done + _BATCH))
        self._done += len(batch)
        self._progress("Calibrating", self._done, len(self._images))
        return {IMAGES: batch}

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        batch = self.get_next()
        if batch is None:
            raise StopIteration
        return batch
