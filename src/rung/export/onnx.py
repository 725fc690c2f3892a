"""An ONNX model of a run: uint8 pixels in, probabilities out, everything in between inside."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rung import __version__
from rung.export.needs import need
from rung.export.target import Answers, Target
from rung.models.classifier import Classifier, view_weights
from rung.models.graph import INPUT, Operation, Weights, operations
from rung.models.onnx_graph import IR_VERSION, OPSET, OnnxGraph
from rung.progress import Progress
from rung.runs import Run

if TYPE_CHECKING:
    import onnx

IMAGES, PROBABILITIES, FEATURES = "images", "probabilities", "features"


def onnx_bytes(run: Run, *, features: bool = False) -> bytes:
    """The ONNX model of a run, serialised. The same run gives the same bytes.

    The model takes ``images``, uint8 (N, height, width, channels), as :func:`rung.data.prepare` makes them, and gives
    ``probabilities``, float32 (N, classes): normalised, averaged over the run's views and calibrated as in
    :meth:`rung.models.classifier.Classifier.predict`. N is free.

    Args:
        run: a run with weights.
        features: whether the model has a second output ``features``, float32 (N, D): what the last dense layer takes,
            averaged over the views. Similar images have similar features.

    Raises:
        UsageError: the package onnx is not installed.
        RunError: the run has no weights, or is damaged.
        RungError: its network does something that no export knows.
    """
    from rung.training.weights import load_classifier

    model = onnx_model(load_classifier(run), metadata(run), features=features)
    return bytes(model.SerializeToString(deterministic=True))


def _write(run: Run, model: Classifier, path: Path, progress: Progress) -> None:
    path.write_bytes(onnx_model(model, metadata(run)).SerializeToString(deterministic=True))


def answers(path: Path) -> Answers:
    """What the ONNX model at ``path`` answers, computed by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run([PROBABILITIES], {IMAGES: images})[0])


def metadata(run: Run) -> dict[str, str]:
    """What a file tells about itself: text by name; what is not text in the first place is JSON."""
    data = run.info["data"]
    return {
        "rung": __version__,
        "name": str(data["name"]),
        "classes": json.dumps(list(data["classes"]), ensure_ascii=False),
        "image_size": json.dumps(list(data["image_size"])),
        "channels": json.dumps(data["channels"]),
        "fingerprint": str(data["fingerprint"]),
        "created": str(run.info.get("created", "")),
    }


def onnx_model(
    model: Classifier,
    about: dict[str, str],
    *,
    features: bool = False,
    rewrite: Callable[[list[Operation]], list[Operation]] | None = None,
) -> onnx.ModelProto:
    """The ONNX model of a classifier, with ``about`` (:func:`metadata`) and the calibration as its metadata.

    ``rewrite`` may put other operations in place of the network's.
    """
    need("onnx", "export")
    from onnx import TensorProto, checker, helper

    height, width = json.loads(about["image_size"])
    channels, classes = json.loads(about["channels"]), len(json.loads(about["classes"]))
    graph = OnnxGraph()
    weights = view_weights(model.views, (height, width))
    pixels = _views(graph, len(weights), (height, width))
    steps = operations(model.network)
    if rewrite:
        steps = rewrite(steps)
    mean, std = model.mean.cpu().numpy(), model.std.cpu().numpy()
    first = steps[0]
    if first.kind == "convolution" and first.options["padding"] == (0, 0) and first.options["groups"] == 1:
        # It normalises, too: without padding, every number that it sees is a pixel's.
        steps[0] = dataclasses.replace(first, inputs=(pixels,), weights=_on_pixels(first.weights, mean, std))
    else:
        centred = graph.node("Sub", [pixels, graph.constant(mean[:, None, None])])
        graph.node("Div", [centred, graph.constant(std[:, None, None])], INPUT)
    graph.write(steps)
    logits = _averaged(graph, steps[-1].name, classes, weights)
    temperature = float(model.temperature)
    calibrated = graph.node("Div", [logits, graph.constant(np.float32(temperature))])
    graph.node("Softmax", [calibrated], PROBABILITIES, axis=1)
    outputs = [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", classes])]
    if features:
        last = next(step for step in reversed(steps) if step.kind == "dense")
        columns = last.weights["weight"].shape[1]
        graph.node("Identity", [_averaged(graph, last.inputs[0], columns, weights)], FEATURES)
        outputs.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["N", columns]))
    made = helper.make_graph(
        graph.nodes,
        "rung",
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", height, width, channels])],
        outputs,
        graph.constants,
    )
    result = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="rung",
        producer_version=about["rung"],
        doc_string="Image classifier. uint8 pixels in, calibrated class probabilities out.",
    )
    helper.set_model_props(result, {**about, "temperature": repr(temperature), "views": str(len(weights))})
    checker.check_model(result, full_check=True)
    return result


def _on_pixels(weights: dict[str, Weights], mean: Weights, std: Weights) -> dict[str, Weights]:
    """The weights of a convolution of pixels that gives what ``weights`` give of normalised ones."""
    filters = weights["weight"].astype(np.float64) / std[None, :, None, None]
    bias = weights["bias"] - np.einsum("oihw,i->o", filters, mean.astype(np.float64))
    return {"weight": filters.astype(np.float32), "bias": bias.astype(np.float32)}


def _views(graph: OnnxGraph, count: int, size: tuple[int, int]) -> str:
    """The views of the images one after the other along the batch, float32 (views · N, C, H, W), 0 to 255."""
    from onnx import TensorProto

    upright = graph.node("Transpose", [IMAGES], perm=[0, 3, 1, 2])
    pixels = upright
    if count > 1:
        # From the last column backwards to beyond the first.
        backwards = [graph.constant(np.array([value], np.int64)) for value in (-1, np.iinfo(np.int64).min, 3, -1)]
        views = []
        for side in (upright, graph.node("Slice", [upright, *backwards])):
            views.append(side)
            if count == 6:
                views += _shifted(graph, side, size)
        pixels = graph.node("Concat", views, axis=0)
    return graph.node("Cast", [pixels], to=TensorProto.FLOAT)


def _shifted(graph: OnnxGraph, side: str, size: tuple[int, int]) -> list[str]:
    """Images (N, C, H, W) moved by a pixel along the diagonal, either way."""
    around = graph.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    padded = graph.node("Pad", [side, around], mode="reflect")
    found = []
    for corner in (0, 2):
        first = graph.constant(np.array([corner, corner], np.int64))
        behind = graph.constant(np.array([corner + size[0], corner + size[1]], np.int64))
        found.append(graph.node("Slice", [padded, first, behind, graph.constant(np.array([2, 3], np.int64))]))
    return found


def _averaged(graph: OnnxGraph, rows: str, columns: int, weights: tuple[float, ...]) -> str:
    """The mean over the views, which lie one after the other: (views · N, columns) to (N, columns)."""
    if len(weights) == 1:
        return rows
    apart = graph.node("Reshape", [rows, graph.constant(np.array([len(weights), -1, columns], np.int64))])
    weighted = graph.node("Mul", [apart, graph.constant(np.array(weights, np.float32)[:, None, None])])
    return graph.node("ReduceSum", [weighted, graph.constant(np.array([0], np.int64))], keepdims=0)


TARGET = Target("model.onnx", "ONNX Runtime", ("onnx", "onnxruntime"), "export", _write, answers)
