"""The inference protocol version 2 of KServe and Triton, over HTTP: what their clients speak.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, with Triton's extension for binary
tensors (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md) and for
classification. One input, ``images``: UINT8 [N, H, W, C], images as :mod:`rung.data.preprocessing` makes them. Two
outputs: ``probabilities``, FP32 [N, K], and ``label``, INT64 [N].
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response

from rung import __version__
from rung.data.dataset import Images
from rung.serving.refusal import Refusal
from rung.serving.service import Service

VERSION = "1"
_HEADER_LENGTH = "inference-header-content-length"
_BESIDES = 2**16  # bytes of a JSON head for all but its pixels
_A_PIXEL = 8  # as in "[255], "
_MOST_OUTPUTS = 8
_DATATYPES = {"probabilities": "FP32", "label": "INT64"}


def v2_router(service: Service) -> APIRouter:
    """The addresses below ``/v2``."""
    router = APIRouter(prefix="/v2", tags=["KServe/Triton protocol v2"])
    name = service.predictor.name
    height, width = service.predictor.image_size
    classes = len(service.predictor.classes)
    shape = [height, width, service.predictor.channels]
    longest_head = _BESIDES + _A_PIXEL * service.limits.files * math.prod(shape)

    def check(model: str, version: str = VERSION) -> None:
        if model != name or version != VERSION:
            raise Refusal(404, "there is no such model here; GET /model tells the name of the one that there is")

    def described(model: str, version: str = VERSION) -> dict[str, Any]:
        check(model, version)
        return {
            "name": name,
            "versions": [VERSION],
            "platform": "rung_onnxruntime",
            "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, *shape]}],
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
                {"name": "label", "datatype": "INT64", "shape": [-1]},
            ],
        }

    async def inferred(request: Request, model: str, version: str = VERSION) -> Response:
        check(model, version)
        async with service.bodies.received(request) as body:
            length = _head_length(request, len(body))
            if length > longest_head:
                raise Refusal(
                    413, f"the JSON of a request may have {longest_head:,} bytes; send fewer images or binary ones"
                )
            parse = partial(_asked, body, length, shape, service.limits.files)
            asked = await service.parser.run(parse, length)
            probabilities = await service.classify(asked.images)
            return _response(asked, name, probabilities, service.predictor.classes)

    @router.get("", summary="About the server")
    async def server() -> dict[str, Any]:
        return {"name": "rung", "version": __version__, "extensions": ["binary_tensor_data", "classification"]}

    @router.get("/health/live", summary="Whether the server is there")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready", summary="Whether it takes requests")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @router.get("/models/{model}", summary="About the model", responses=_MISSING)
    async def metadata(model: str) -> dict[str, Any]:
        return described(model)

    @router.get("/models/{model}/ready", summary="Whether the model is ready", responses=_MISSING)
    async def model_ready(model: str) -> dict[str, Any]:
        check(model)
        return {"name": name, "ready": True}

    @router.post(
        "/models/{model}/infer", summary="Classify a tensor of images", responses=_REFUSALS, openapi_extra=_TENSORS
    )
    async def infer(request: Request, model: str) -> Response:
        return await inferred(request, model)

    @router.get("/models/{model}/versions/{version}", summary="The same of a version", responses=_MISSING)
    async def metadata_of_version(model: str, version: str) -> dict[str, Any]:
        return described(model, version)

    @router.get("/models/{model}/versions/{version}/ready", summary="The same of a version", responses=_MISSING)
    async def version_ready(model: str, version: str) -> dict[str, Any]:
        check(model, version)
        return {"name": name, "ready": True}

    @router.post(
        "/models/{model}/versions/{version}/infer",
        summary="The same with a version",
        responses=_REFUSALS,
        openapi_extra=_TENSORS,
    )
    async def infer_with_version(request: Request, model: str, version: str) -> Response:
        return await inferred(request, model, version)

    return router


_INFER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype"],
                "properties": {
                    "name": {"const": "images"},
                    "datatype": {"const": "UINT8"},
                    "shape": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 1},
                        "minItems": 4,
                        "maxItems": 4,
                    },
                    "data": {"type": "array", "description": "Pixels from 0 to 255, nested or flat."},
                    "parameters": {"type": "object"},
                },
            },
        },
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "parameters": {"type": "object"},
    },
}


_TENSORS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _INFER_SCHEMA},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "No such model."}}
_REFUSALS = {
    **_MISSING,
    400: {"description": "Not a request of the protocol."},
    408: {"description": "It took too long to arrive."},
    413: {"description": "Too many bytes or images."},
    415: {"description": "A compressed body."},
    503: {"description": "Too much is waiting; `Retry-After` says when to come again."},
    504: {"description": "The answer took too long."},
}


@dataclass(frozen=True)
class _Asked:
    """A request: its images, uint8 (N, H, W, C), what :func:`_wanted` finds, and its own name, if it has one."""

    images: Images
    wanted: list[tuple[str, bool, int]]
    id: str | None


def _head_length(request: Request, most: int) -> int:
    """How many bytes of the body are JSON; binary tensors are behind."""
    length = request.headers.get(_HEADER_LENGTH)
    if length is None:
        return most
    if not (length.isascii() and length.isdecimal() and len(length) < 12 and int(length) <= most):
        raise Refusal(400, "Inference-Header-Content-Length is not a length within the body")
    return int(length)


def _asked(body: bytes, length: int, shape: list[int], most: int) -> _Asked:
    """A body taken apart; of its JSON, which is large in memory, nothing is kept."""
    try:
        header = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not JSON") from error
    if not isinstance(header, dict):
        raise Refusal(400, "the body is not a JSON object with inputs")
    id_ = header.get("id")
    return _Asked(_images(header, body[length:], shape, most), _wanted(header), id_ if isinstance(id_, str) else None)


def _images(header: dict[str, Any], binary: bytes, shape: list[int], most: int) -> Images:
    """The input tensor, uint8 (N, H, W, C)."""
    inputs = header.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refusal(400, "exactly one input is taken: images")
    tensor = inputs[0]
    if tensor.get("name") != "images" or tensor.get("datatype") != "UINT8":
        raise Refusal(400, "the input must be named images and have the datatype UINT8")
    given = tensor.get("shape")
    if not isinstance(given, list) or not all(type(side) is int for side in given):
        raise Refusal(400, "the input's shape must be a list of whole numbers")
    if len(given) != 4 or given[1:] != shape or given[0] < 1:
        raise Refusal(400, f"the input's shape must be [N, {', '.join(map(str, shape))}]")
    if given[0] > most:
        raise Refusal(413, f"more than {most} images in one request; send them in several")
    size = math.prod(given)
    length = _parameters(tensor).get("binary_data_size")
    if length is not None:
        if length != size or len(binary) != size:
            raise Refusal(400, f"the input's binary data must have {size} bytes")
        return np.frombuffer(binary, np.uint8).reshape(given)
    if "data" not in tensor:
        raise Refusal(400, "the input has no data; shared memory is not supported")
    return _numbers(tensor["data"], size).reshape(given)


def _numbers(data: Any, size: int) -> Images:
    """Nested or flat pixels of a JSON request as uint8 (size,)."""
    bad = Refusal(400, f"the input's data must be {size} whole numbers from 0 to 255")
    # NumPy would unfold one long text among many short ones into gigabytes, so it gets nothing but numbers.
    values = data
    for _ in range(3):
        if isinstance(values, list) and all(type(part) is list for part in values):
            if len({len(part) for part in values}) > 1:
                raise bad
            values = list(chain.from_iterable(values))
    if not isinstance(values, list) or len(values) != size:
        raise bad
    if not all(type(value) is int and 0 <= value <= 255 for value in values):
        raise bad
    return np.array(values, np.uint8)


def _parameters(part: dict[str, Any]) -> dict[str, Any]:
    parameters = part.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Refusal(400, "parameters must be an object")
    return parameters


def _wanted(header: dict[str, Any]) -> list[tuple[str, bool, int]]:
    """For each output its name, whether it is to be binary, and how many classes to name instead of numbers."""
    by_default = _parameters(header).get("binary_data_output", False)
    asked = header.get("outputs")
    if asked is None or asked == []:
        return [(name, bool(by_default), 0) for name in _DATATYPES]
    if not isinstance(asked, list) or not all(isinstance(output, dict) for output in asked):
        raise Refusal(400, "outputs must be a list of objects")
    if len(asked) > _MOST_OUTPUTS:  # or a short request would get an endless answer
        raise Refusal(400, f"more than {_MOST_OUTPUTS} outputs; ask for each once")
    wanted = []
    for output in asked:
        name, parameters = output.get("name"), _parameters(output)
        if not isinstance(name, str) or name not in _DATATYPES:
            raise Refusal(400, f"there is no such output; there are {' and '.join(_DATATYPES)}")
        most = parameters.get("classification", 0)
        if type(most) is not int or most < 0 or (most and name != "probabilities"):
            raise Refusal(400, "classification must be a number of classes, and belongs to the output probabilities")
        wanted.append((name, bool(parameters.get("binary_data", by_default)), most))
    return wanted


def _response(
    asked: _Asked,
    model: str,
    probabilities: npt.NDArray[np.float32],
    classes: tuple[str, ...],
) -> Response:
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, is_binary, most in asked.wanted:
        if most:
            output, plain, raw = _named(probabilities, min(most, len(classes)), classes)
        else:
            values = probabilities if name == "probabilities" else probabilities.argmax(1).astype(np.int64)
            output = {"name": name, "datatype": _DATATYPES[name], "shape": list(values.shape)}
            plain = values.reshape(-1).tolist()
            raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
        if is_binary:
            output["parameters"] = {"binary_data_size": len(raw)}
            binary.append(raw)
        else:
            output["data"] = plain
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": model, "model_version": VERSION, "outputs": outputs}
    if asked.id is not None:
        answer["id"] = asked.id
    head = json.dumps(answer).encode()
    if not binary:
        return Response(head, media_type="application/json")
    return Response(
        b"".join([head, *binary]), media_type="application/octet-stream", headers={_HEADER_LENGTH: str(len(head))}
    )


def _named(
    probabilities: npt.NDArray[np.float32], most: int, classes: tuple[str, ...]
) -> tuple[dict[str, Any], list[Any], bytes]:
    """Triton's classification extension: "probability:class:name" of the most probable classes, as BYTES [N, most]."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    texts = [f"{probabilities[row, k]:f}:{k}:{classes[k]}" for row, ranked in enumerate(best.tolist()) for k in ranked]
    encoded = [text.encode("utf-8", "replace") for text in texts]
    raw = b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
    return {"name": "probabilities", "datatype": "BYTES", "shape": list(best.shape)}, texts, raw
