"""The model of a run in ONNX Runtime: ready in tenths of a second, and without torch in memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Images
from rung.errors import RunError
from rung.models.onnx_session import single_threaded
from rung.runs import MODEL, RUN, SERVING, Run

Floats = npt.NDArray[np.float32]

_WEIGHTS = "weights"  # the key under which the file tells which weights it was made from


class OnnxPredictor:
    """A :class:`rung.serving.predictor.Predictor` on ONNX Runtime. Make it with :meth:`open`."""

    def __init__(self, run: Run, model: bytes) -> None:
        data = run.info["data"]
        height, width = data["image_size"]
        self.name = _plain(str(data.get("name") or run.path.name))
        self.classes = tuple(str(name) for name in data["classes"])
        self.image_size = (int(height), int(width))
        self.channels = int(data["channels"])
        self.mean, self.std = _normalisation(run)
        self._session = single_threaded(model)
        self._outputs = [output.name for output in self._session.get_outputs()]

    @classmethod
    def open(cls, run: Run) -> OnnxPredictor:
        """The model of ``run``. Its ONNX file is made the first time, which imports torch, and kept in the run folder.

        Args:
            run: a run with weights.

        Raises:
            RunError: the run has no weights, or is damaged.
            RungError: its network cannot be exported.
        """
        try:
            weights = run.read_bytes(MODEL)
        except FileNotFoundError as error:
            raise RunError(
                f"{run.path} has no {MODEL}: its training has not ended; go on with it by --resume"
            ) from error
        except OSError as error:
            raise RunError(f"{run.path / MODEL} cannot be read: {error.strerror or error}") from error
        about = json.dumps([run.info.get("data"), run.info.get("recipe")], sort_keys=True).encode()
        key = hashlib.sha256(b"2" + hashlib.sha256(weights).digest() + about).hexdigest()
        try:
            return cls(run, _kept(run, key) or _made(run, key))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{run.path / RUN} does not describe a model: {error}") from error

    def rows(self, pixels: Images) -> Floats:
        """See :meth:`rung.serving.predictor.Predictor.rows`."""
        found = self._session.run(self._outputs, {"images": pixels})
        return np.asarray(found[0] if len(found) == 1 else np.hstack(found), np.float32)


def _kept(run: Run, key: str) -> bytes | None:
    """The ONNX file in the run folder, if it was made from these weights."""
    try:
        content = run.read_bytes(SERVING)
    except (OSError, RunError):
        return None
    return content if content.endswith(_trailer(key)) else None


def _made(run: Run, key: str) -> bytes:
    from rung.export.onnx import onnx_bytes

    content = onnx_bytes(run, features=True) + _trailer(key)
    # A folder that cannot be written to costs every start the time that this took.
    with contextlib.suppress(RunError):
        run.write_bytes(SERVING, content)
    return content


def _trailer(key: str) -> bytes:
    """The key as one more piece of metadata, in the encoding of the file (Protocol Buffers, which may be appended to).

    Field 14 of a ModelProto is ``metadata_props``: entries of two strings, fields 1 and 2.
    """

    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128  # then one byte holds the length
        return bytes([number << 3 | 2, len(content)]) + content

    return field(14, field(1, _WEIGHTS.encode()) + field(2, key.encode()))


def _normalisation(run: Run) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation a channel, from the weights."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        weights: dict[str, Any] = load(run.read_bytes(MODEL))
        mean, std = (tuple(float(value) for value in np.ravel(weights[name])) for name in ("mean", "std"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path / MODEL} is damaged: {error}") from error
    return mean, std


def _plain(name: str) -> str:
    """A name that can stand in an address."""
    stem = Path(name).name
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in stem)
    return kept.strip(".-")[:64] or "model"
