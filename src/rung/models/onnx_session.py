"""ONNX Runtime as rung wants it for throughput: a batch a core."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def single_threaded(model: bytes) -> onnxruntime.InferenceSession:
    """A session of a serialised ONNX model that computes each call in the thread that makes it.

    A batch a core is faster than a batch on all cores, whose threads wait for each other after every layer.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
