"""What a training leaves behind for a diagnosis, as plain arrays: ``recordings.safetensors`` of a run.

Reading it needs NumPy alone, so that a diagnosis does not wait for torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# Parts of a training into which the losses of each image are sorted.
PARTS = 8


def _empty() -> Floats:
    return np.zeros(0, np.float32)


def _nobody() -> Integers:
    return np.zeros(0, np.int64)


def _table() -> Floats:
    return np.zeros((0, 0), np.float32)


def _unseen() -> npt.NDArray[np.float16]:
    return np.zeros((PARTS, 0), np.float16)


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a network says about some images of a split.

    Attributes:
        probabilities: float32 (N, K), before any temperature.
        labels: int64 (N,).
        positions: int64 (N,): places of the images in their split.
    """

    probabilities: Floats
    labels: Integers
    positions: Integers

    @property
    def accuracy(self) -> float:
        return float((self.probabilities.argmax(1) == self.labels).mean())

    @property
    def loss(self) -> float:
        """Mean log loss in nats."""
        right = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.clip(right.astype(np.float64), 1e-12, None)).mean())


@dataclass(frozen=True, eq=False)
class Recordings:
    """What was seen inside a network while it trained. S steps were looked at, of L layers and A activations.

    Attributes:
        layers: names of the weights with at least two dimensions, in the order of the network.
        widths: int64 (L,): outputs of each layer.
        activations: names of the activations, in the order in which they were first computed.
        steps: int64 (S,): which steps were looked at.
        gradients: float32 (S, L): root mean square of a weight's gradient.
        weights: float32 (S, L): root mean square of a weight before the step.
        updates: float32 (S, L): root mean square of what the step changed.
        dead: float32 (S, A): share of channels that were 0 for every image looked at.
        saturated: float32 (S, A): share of outputs at the flat ends of a sigmoid or tanh.
        spread: float32 (S, A): deviation of a channel across images, over its root mean square; 0 where an activation
            is the same whatever the image.
        alike: float32 (S, A): mean correlation of neighbouring channels across images and positions; 1 where all
            channels say the same.
        losses: float32 (steps,): the training loss of every step, in nats; NaN where it was not a number.
        retreats: int64 (R,): steps after which the training went back to its best weights, because a loss or a weight
            was not a number.
        image_losses: float16 (PARTS, N): mean log loss of each training image, as it passed by with its variations, in
            each part of the training; NaN where it did not pass.
        train: of an evenly spaced sample of the training images, at the end; None where nobody looked.
        val: of the validation images, at the end.
        batch_accuracy, running_accuracy: accuracy on the same training images at the end, where batch normalisation
            takes the statistics of their batch, and where it takes its running ones; NaN without such layers.
    """

    layers: tuple[str, ...] = ()
    widths: Integers = field(default_factory=_nobody)
    activations: tuple[str, ...] = ()
    steps: Integers = field(default_factory=_nobody)
    gradients: Floats = field(default_factory=_table)
    weights: Floats = field(default_factory=_table)
    updates: Floats = field(default_factory=_table)
    dead: Floats = field(default_factory=_table)
    saturated: Floats = field(default_factory=_table)
    spread: Floats = field(default_factory=_table)
    alike: Floats = field(default_factory=_table)
    losses: Floats = field(default_factory=_empty)
    retreats: Integers = field(default_factory=_nobody)
    image_losses: npt.NDArray[np.float16] = field(default_factory=_unseen)
    train: Predicted | None = None
    val: Predicted | None = None
    batch_accuracy: float = float("nan")
    running_accuracy: float = float("nan")

    def to_bytes(self) -> bytes:
        """As safetensors."""
        from safetensors.numpy import save

        tensors, notes = self.flatten()
        return save(tensors, notes)

    def flatten(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
        """The arrays by name, and the rest as text."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        notes: dict[str, Any] = {}
        for name in (each.name for each in fields(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                arrays[name] = np.ascontiguousarray(value)
            elif isinstance(value, Predicted):
                arrays |= {f"{name}.{part.name}": getattr(value, part.name) for part in fields(value)}
            elif isinstance(value, float):
                arrays[name] = np.array([value], np.float64)
            elif value is not None:
                notes[name] = list(value)
        return arrays, {"recordings": json.dumps(notes)}

    @classmethod
    def from_bytes(cls, content: bytes) -> Recordings:
        """The inverse of :meth:`to_bytes`.

        Raises:
            ValueError: the content is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(content)
            # The format: eight bytes of length, then that much JSON.
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            return cls.unflatten(arrays, header["__metadata__"])
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not recordings of a training: {error}") from error

    @classmethod
    def unflatten(cls, arrays: dict[str, npt.NDArray[Any]], notes: dict[str, str]) -> Recordings:
        """The inverse of :meth:`flatten`.

        Raises:
            KeyError, TypeError, ValueError: something is missing or has a wrong shape.
        """
        known: dict[str, Any] = {
            name: tuple(map(str, value)) for name, value in json.loads(notes["recordings"]).items()
        }
        for name in ("train", "val"):
            if f"{name}.labels" in arrays:
                parts = {part.name: arrays[f"{name}.{part.name}"] for part in fields(Predicted)}
                if len({len(part) for part in parts.values()}) != 1 or parts["probabilities"].ndim != 2:
                    raise ValueError(f"the predictions of {name} do not fit together")
                known[name] = Predicted(**parts)
        for name in ("batch_accuracy", "running_accuracy"):
            known[name] = float(arrays[name][0])
        for name, value in arrays.items():
            if name not in known and "." not in name:
                known[name] = value
        found = cls(**known)
        if len(found.widths) != len(found.layers):
            raise ValueError("the widths do not belong to the layers")
        for name in ("gradients", "weights", "updates"):
            if getattr(found, name).shape != (len(found.steps), len(found.layers)):
                raise ValueError(f"{name} do not belong to {len(found.layers)} layers")
        for name in ("dead", "saturated", "spread", "alike"):
            if getattr(found, name).shape != (len(found.steps), len(found.activations)):
                raise ValueError(f"{name} do not belong to {len(found.activations)} activations")
        return found
