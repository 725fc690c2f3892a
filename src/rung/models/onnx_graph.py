"""Operations as the nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from rung.models.graph import Operation

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 8
"""Old enough for every ONNX Runtime since 1.13, also in browsers, and for OpenVINO and TensorRT of that age."""


class OnnxGraph:
    """The nodes and constants of a model while it is put together."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str | None = None, **options: Any) -> str:
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}_node", **options))
        return output

    def write(self, steps: Iterable[Operation]) -> None:
        """A node, or some, for each operation; their results have the operations' names."""
        for step in steps:
            _OPERATIONS[step.kind](self, step)

    def constant(self, value: Any, name: str | None = None) -> str:
        from onnx import numpy_helper

        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _convolution(graph: OnnxGraph, step: Operation) -> None:
    (down, across) = step.options["padding"]
    graph.node(
        "Conv",
        [step.inputs[0], *_weights(graph, step, "weight", "bias")],
        step.name,
        kernel_shape=list(step.weights["weight"].shape[2:]),
        strides=list(step.options["stride"]),
        pads=[down, across, down, across],
        group=step.options["groups"],
    )


def _affine(graph: OnnxGraph, step: Operation) -> None:
    scale, shift = (
        graph.constant(step.weights[name][:, None, None], f"{step.name}.{name}") for name in ("scale", "shift")
    )
    graph.node("Add", [graph.node("Mul", [step.inputs[0], scale]), shift], step.name)


def _dense(graph: OnnxGraph, step: Operation) -> None:
    graph.node("Gemm", [step.inputs[0], *_weights(graph, step, "weight", "bias")], step.name, transB=1)


def _pooling(graph: OnnxGraph, step: Operation) -> None:
    (down, across) = step.options["padding"]
    average = {"count_include_pad": 1} if step.kind == "average pooling" else {}
    graph.node(
        "AveragePool" if average else "MaxPool",
        [step.inputs[0]],
        step.name,
        kernel_shape=list(step.options["kernel"]),
        strides=list(step.options["stride"]),
        pads=[down, across, down, across],
        **average,
    )


def _relu6(graph: OnnxGraph, step: Operation) -> None:
    graph.node("Clip", [step.inputs[0], *(graph.constant(np.float32(end)) for end in (0, 6))], step.name)


def _gelu(graph: OnnxGraph, step: Operation) -> None:
    # An operation of its own from opset 20 on only; engines know these five for it.
    (x,) = step.inputs
    one, half = graph.constant(np.float32(1)), graph.constant(np.float32(0.5))
    error_function = graph.node("Erf", [graph.node("Div", [x, graph.constant(np.float32(2**0.5))])])
    graph.node("Mul", [graph.node("Mul", [x, graph.node("Add", [error_function, one])]), half], step.name)


def _swish(graph: OnnxGraph, step: Operation) -> None:
    (x,) = step.inputs
    graph.node("Mul", [x, graph.node("Sigmoid", [x])], step.name)


def _resize(graph: OnnxGraph, step: Operation) -> None:
    # Before opset 18 the sizes of all axes have to be given, also that of the batch.
    shape = graph.node("Shape", [step.inputs[0]])
    ends = [graph.constant(np.array([end], np.int64)) for end in (0, 2)]
    others = graph.node("Slice", [shape, *ends])
    sizes = graph.node("Concat", [others, graph.constant(np.array(step.options["size"], np.int64))], axis=0)
    graph.node(
        "Resize",
        [step.inputs[0], "", "", sizes],
        step.name,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def _times(graph: OnnxGraph, step: Operation) -> None:
    graph.node("Mul", [step.inputs[0], graph.constant(np.float32(step.options["factor"]))], step.name)


def _over_positions(graph: OnnxGraph, step: Operation) -> None:
    kind = "ReduceMax" if step.kind == "maximum" else "ReduceMean"
    graph.node(kind, [step.inputs[0]], step.name, axes=[2, 3], keepdims=0)


def _weights(graph: OnnxGraph, step: Operation, *names: str) -> list[str]:
    return [graph.constant(step.weights[name], f"{step.name}.{name}") for name in names]


_OPERATIONS: dict[str, Callable[[OnnxGraph, Operation], object]] = {
    "convolution": _convolution,
    "affine": _affine,
    "dense": _dense,
    "max pooling": _pooling,
    "average pooling": _pooling,
    "relu": lambda graph, step: graph.node("Relu", [step.inputs[0]], step.name),
    "relu6": _relu6,
    "gelu": _gelu,
    "swish": _swish,
    "add": lambda graph, step: graph.node("Add", list(step.inputs), step.name),
    "times": _times,
    "resize": _resize,
    "maximum": _over_positions,
    "mean": _over_positions,
    "flatten": lambda graph, step: graph.node("Flatten", [step.inputs[0]], step.name, axis=1),
}
