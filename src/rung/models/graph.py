"""A network as a list of standard operations, which exports and other engines than torch are written from.

torch's own exporters were tried first: for the same network ``torch.onnx.export`` takes seconds of imports and analysis
and needs two more packages, and there is none for Keras. The networks here consist of a dozen kinds of layers, so they
are traced symbolically (``torch.fx``, milliseconds), each call is translated into one of the operations below, and
normalisations disappear into the convolutions before them.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from rung.errors import RungError

Weights = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Operation:
    """One step of a network. Tensors are (N, C, H, W), or (N, features) behind ``flatten`` and the reductions.

    ``kind`` is one of:

    ====================  ============================================================================================
    ``convolution``       ``weight`` (O, I/groups, h, w), ``bias`` (O,), ``stride``, ``padding`` (h, w), ``groups``
    ``affine``            times ``scale`` plus ``shift``, both (C,): a normalisation that no convolution could take
    ``dense``             ``weight`` (O, I), ``bias`` (O,)
    ``max pooling``       ``kernel``, ``stride``, ``padding`` (h, w); what does not fill a window is left out
    ``average pooling``   the same
    ``relu``, ``relu6``   of each number
    ``gelu``              of each number, times the normal distribution function of it
    ``swish``             of each number, times the logistic function of it: in exports with 8 bits
    ``add``               of two tensors
    ``times``             a number, ``factor``
    ``maximum``, ``mean`` over all positions, giving (N, C)
    ``resize``            bilinear to ``size`` (h, w), with the corners of pixels where they were
    ``flatten``           to (N, C · H · W), channels outermost
    ====================  ============================================================================================
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: dict[str, Weights] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


INPUT = "normalised"
"""The name of what the first operation takes: normalised images, float32 (N, C, H, W)."""


def operations(network: nn.Module) -> list[Operation]:
    """The operations of ``network`` in an order in which they can be computed; the last one gives the logits.

    Raises:
        RungError: the network does something that is not in the list.
    """
    found, results = operations_and_results(network)
    if not found or [found[-1].name] != results:
        raise RungError(f"{type(network).__name__} cannot be exported: its last step is not its result")
    return found


def operations_and_results(network: nn.Module) -> tuple[list[Operation], list[str]]:
    """:func:`operations` of a network that may give several tensors, and the names of those that it gives."""
    try:
        traced = _Tracer().trace(network.eval())
    except Exception as error:  # Whatever the code of a network of others meets that is given no numbers.
        why = " ".join(str(error).split())[:160]
        raise RungError(f"this network cannot be exported: {why}") from error
    modules = dict(network.named_modules())
    names: dict[str, str] = {}
    found: list[Operation] = []
    results: list[str] = []
    for node in traced.nodes:
        if node.op == "placeholder":
            names[node.name] = INPUT
        elif node.op == "output":
            given = node.args[0]
            results = [names[one.name] for one in (given if isinstance(given, list | tuple) else [given])]
        else:
            operation = _translate(node, modules, names)
            # What does nothing when predicting, such as dropout, is a second name of its input.
            names[node.name] = operation if isinstance(operation, str) else operation.name
            if isinstance(operation, Operation):
                found.append(operation)
    folded, renamed = _fold(found, results)
    results = [renamed.get(name, name) for name in results]
    return _relu_before_pooling(folded, results), results


class _Tracer(torch.fx.Tracer):
    """Keeps the layers that are known here in one piece."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _kind(m) is not None


def _kind(layer: nn.Module) -> type[nn.Module] | None:
    """Which of torch's layers this is, or computes the same as; None for all others.

    A subclass with a ``forward`` of its own may do something else: timm has convolutions that pad by the size of the
    image, and normalisations with an activation inside. Ours are faster, not different.
    """
    for kind in _LAYERS:
        if isinstance(layer, kind):
            made = type(layer)
            return kind if made.forward is kind.forward or made.__module__.startswith("rung.") else None
    return None


def _translate(node: torch.fx.Node, modules: dict[str, nn.Module], names: dict[str, str]) -> Operation | str:
    inputs = tuple(names[argument.name] for argument in node.all_input_nodes)
    if node.op == "call_module":
        layer = modules[str(node.target)]
        kind = _kind(layer)
        if kind in _POOLINGS_OF_ALL and not all(_is_flattening(user, modules) for user in node.users):
            raise RungError(f"this network cannot be exported: {layer} is not flattened behind it")
        if kind is not None:
            return _LAYERS[kind](str(node.name), inputs, layer)
    elif node.target in _FUNCTIONS:
        try:
            made = _FUNCTIONS[node.target](str(node.name), inputs, *node.args[1:], **node.kwargs)
        except TypeError:  # An argument that is not known here, or a result in the place of a number.
            made = None
        if made is not None:
            return made
    raise RungError(f"this network cannot be exported: nothing is known about its step {node.format_node()}")


def _is_flattening(node: torch.fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        layer = modules[str(node.target)]
        if isinstance(layer, nn.Dropout | nn.Dropout2d | nn.Identity | nn.ReLU | nn.ReLU6):
            return all(_is_flattening(user, modules) for user in node.users)
        return isinstance(layer, nn.Flatten)
    return node.target in ("flatten", torch.flatten)


def _array(tensor: torch.Tensor) -> Weights:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _convolution(name: str, inputs: tuple[str, ...], layer: Any) -> Operation:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros" or _pair(layer.dilation) != (1, 1):
        raise RungError(f"this network cannot be exported: its convolution {layer} has an unusual padding or dilation")
    bias = _array(layer.bias) if layer.bias is not None else np.zeros(layer.out_channels, np.float32)
    options = {"stride": _pair(layer.stride), "padding": _pair(layer.padding), "groups": layer.groups}
    return Operation(name, "convolution", inputs, {"weight": _array(layer.weight), "bias": bias}, options)


def _norm(name: str, inputs: tuple[str, ...], layer: Any) -> Operation:
    # In float64: what is folded into a convolution should not be rounded twice.
    deviation = (layer.running_var.double() + layer.eps).sqrt()
    scale = layer.weight.double() / deviation if layer.weight is not None else 1 / deviation
    shift = -layer.running_mean.double() * scale
    if layer.bias is not None:
        shift = shift + layer.bias.double()
    return Operation(
        name, "affine", inputs, {"scale": scale.detach().cpu().numpy(), "shift": shift.detach().cpu().numpy()}
    )


def _dense(name: str, inputs: tuple[str, ...], layer: Any) -> Operation:
    bias = _array(layer.bias) if layer.bias is not None else np.zeros(layer.out_features, np.float32)
    return Operation(name, "dense", inputs, {"weight": _array(layer.weight), "bias": bias})


def _pooling(
    name: str, inputs: tuple[str, ...], kind: str, kernel: Any, stride: Any = None, padding: Any = 0
) -> Operation:
    options = {"kernel": _pair(kernel), "stride": _pair(stride or kernel), "padding": _pair(padding)}
    return Operation(name, f"{kind} pooling", inputs, {}, options)


def _pooling_layer(name: str, inputs: tuple[str, ...], layer: Any) -> Operation:
    unusual = getattr(layer, "dilation", 1) not in (1, (1, 1)) or not getattr(layer, "count_include_pad", True)
    if layer.ceil_mode or unusual or getattr(layer, "divisor_override", None):
        raise RungError(f"this network cannot be exported: its pooling {layer} is unusual")
    kind = "max" if isinstance(layer, nn.MaxPool2d) else "average"
    return _pooling(name, inputs, kind, layer.kernel_size, layer.stride, layer.padding)


def _flatten_layer(name: str, inputs: tuple[str, ...], layer: Any) -> Operation:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise RungError(f"this network cannot be exported: {layer} keeps some dimensions")
    return Operation(name, "flatten", inputs)


def _global_layer(name: str, inputs: tuple[str, ...], layer: Any) -> Operation:
    if layer.output_size not in (1, (1, 1)):
        raise RungError(f"this network cannot be exported: {layer} leaves more than one position")
    # (N, C) where torch has (N, C, 1, 1): what follows is a flattening (see above), which changes nothing any more.
    return Operation(name, "mean" if isinstance(layer, nn.AdaptiveAvgPool2d) else "maximum", inputs)


def _as_it_is(name: str, inputs: tuple[str, ...], layer: Any) -> str:
    return inputs[0]


_LAYERS: dict[type[nn.Module], Callable[[str, tuple[str, ...], Any], Operation | str]] = {
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _norm,
    nn.Linear: _dense,
    nn.MaxPool2d: _pooling_layer,
    nn.AvgPool2d: _pooling_layer,
    nn.AdaptiveAvgPool2d: _global_layer,
    nn.AdaptiveMaxPool2d: _global_layer,
    nn.ReLU6: lambda name, inputs, layer: Operation(name, "relu6", inputs),
    nn.ReLU: lambda name, inputs, layer: Operation(name, "relu", inputs),
    nn.Flatten: _flatten_layer,
    nn.Dropout: _as_it_is,
    nn.Dropout2d: _as_it_is,
    nn.Identity: _as_it_is,
}


_POOLINGS_OF_ALL = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)

# The arguments of these have torch's names. What they cannot translate they answer with None.


def _relu(name: str, inputs: tuple[str, ...], inplace: bool = False) -> Operation:
    return Operation(name, "relu", inputs)


def _gelu(name: str, inputs: tuple[str, ...], approximate: str = "none") -> Operation | None:
    return Operation(name, "gelu", inputs) if approximate == "none" else None


def _add(name: str, inputs: tuple[str, ...], other: Any, alpha: float = 1) -> Operation | None:
    return Operation(name, "add", inputs) if len(inputs) == 2 and alpha == 1 else None


def _times(name: str, inputs: tuple[str, ...], other: Any) -> Operation | None:
    return Operation(name, "times", inputs, {}, {"factor": float(other)}) if len(inputs) == 1 else None


def _divided(name: str, inputs: tuple[str, ...], other: Any) -> Operation | None:
    return Operation(name, "times", inputs, {}, {"factor": 1 / float(other)}) if len(inputs) == 1 else None


def _over_positions(kind: str) -> Callable[..., Operation | None]:
    def translate(name: str, inputs: tuple[str, ...], dim: Any = None, keepdim: bool = False) -> Operation | None:
        usual = dim in ((2, 3), [2, 3], (-2, -1), [-2, -1]) and not keepdim
        return Operation(name, kind, inputs) if usual else None

    return translate


def _flatten(name: str, inputs: tuple[str, ...], start_dim: int = 0, end_dim: int = -1) -> Operation | None:
    return Operation(name, "flatten", inputs) if (start_dim, end_dim) == (1, -1) else None


def _max_pooling(
    name: str,
    inputs: tuple[str, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Operation | None:
    usual = dilation == 1 and not ceil_mode and not return_indices
    return _pooling(name, inputs, "max", kernel_size, stride, padding) if usual else None


def _resize(
    name: str,
    inputs: tuple[str, ...],
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Operation | None:
    usual = size is not None and mode == "bilinear" and not align_corners and not antialias
    return Operation(name, "resize", inputs, {}, {"size": _pair(size)}) if usual else None


_FUNCTIONS: dict[Any, Callable[..., Operation | None]] = {
    F.interpolate: _resize,
    F.relu: _relu,
    F.relu_: _relu,
    torch.relu: _relu,
    "relu": _relu,
    F.gelu: _gelu,
    F.max_pool2d: _max_pooling,
    operator.add: _add,
    torch.add: _add,
    operator.mul: _times,
    operator.truediv: _divided,
    "amax": _over_positions("maximum"),
    torch.amax: _over_positions("maximum"),
    "mean": _over_positions("mean"),
    torch.mean: _over_positions("mean"),
    "flatten": _flatten,
    torch.flatten: _flatten,
}


def _fold(found: list[Operation], results: list[str]) -> tuple[list[Operation], dict[str, str]]:
    """Let convolutions do the normalisations behind them, also those that have a max pooling in between.

    Returns the operations that are left, and what now gives the results of those that are gone.

    A maximum commutes with an increasing function, so that only a scale that is nowhere negative can pass it.
    """
    places = {operation.name: place for place, operation in enumerate(found)}
    users = [*results, *(name for operation in found for name in operation.inputs)]
    renamed: dict[str, str] = {}
    folded: list[Operation | None] = list(found)
    for place, operation in enumerate(found):
        if operation.kind != "affine":
            continue
        source = folded[places[operation.inputs[0]]] if operation.inputs[0] in places else None
        scale, shift = operation.weights["scale"], operation.weights["shift"]
        before = source
        if before is not None and before.kind == "max pooling" and scale.min() >= 0 and users.count(before.name) == 1:
            before = folded[places[before.inputs[0]]] if before.inputs[0] in places else None
        if source is None or before is None or before.kind != "convolution" or users.count(before.name) > 1:
            continue
        weight = before.weights["weight"] * scale[:, None, None, None]
        bias = before.weights["bias"] * scale + shift
        weights = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
        folded[places[before.name]] = dataclasses.replace(before, weights=weights)
        folded[place] = None
        renamed[operation.name] = source.name
    left = [
        dataclasses.replace(
            operation,
            inputs=tuple(renamed.get(name, name) for name in operation.inputs),
            weights={name: values.astype(np.float32) for name, values in operation.weights.items()},
        )
        for operation in folded
        if operation is not None
    ]
    return left, renamed


def _relu_before_pooling(found: list[Operation], results: list[str]) -> list[Operation]:
    """Swap every max pooling with the ReLU behind it, which changes no number.

    Engines compute a ReLU as a part of the convolution before it, and a maximum of 8-bit numbers only where nothing
    changes their scale behind it.
    """
    places = {operation.name: place for place, operation in enumerate(found)}
    users = [*results, *(name for operation in found for name in operation.inputs)]
    swapped = list(found)
    for place, relu in enumerate(found):
        source = places.get(relu.inputs[0])
        if relu.kind in ("relu", "relu6") and source is not None:
            pooling = found[source]
            if pooling.kind == "max pooling" and users.count(pooling.name) == 1:
                swapped[source] = dataclasses.replace(pooling, kind=relu.kind, options={})
                swapped[place] = dataclasses.replace(relu, kind=pooling.kind, options=pooling.options)
    return swapped
