"""Looking inside a network while it trains, now and then, at next to no cost and without changing what it learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rung.data.dataset import Dataset, Split
from rung.models.classifier import Classifier, autocast, predict
from rung.training.recordings import PARTS, Predicted, Recordings
from rung.training.rows import TRAIN_SAMPLE

# Steps between two looks, once the first steps are over; doubled with every doubling of the steps from EVERY**2 on.
EVERY = 32
# Images of a batch, and positions a side of each, that a look takes of an activation.
IMAGES, SIDE = 32, 8
# Steps whose losses are sorted to their images at once.
FLUSH = 32
# Training images that batch normalisation is tried on.
NORM_SAMPLE = 500

# What is seen of an activation: its kind decides where it is flat.
_KINDS: Mapping[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu",
    nn.LeakyReLU: "leaky",
    nn.ELU: "elu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.Hardtanh: "tanh",
}
_SEEN = ("dead", "saturated", "spread", "alike")
_MOVED = ("gradients", "weights", "updates")


def is_due(step: int) -> bool:
    """Whether a training looks inside its network at this step; a function of the step alone, so that resuming agrees.

    At steps 0, 1, 3, 7, 15 and 31, then at every 32nd, and ever less often in very long trainings.
    """
    count = step + 1
    every = EVERY * 2 ** max(0, count.bit_length() - 11)
    return count % every == 0 or (count <= EVERY and count & step == 0)


class Watcher:
    """Sees every step of a training, and looks inside the network at a few.

    The loop calls :meth:`before` the forward pass, :meth:`gradients` between the backward pass and the optimizer, and
    :meth:`after` the optimizer. A block that computes its activation itself has an attribute ``activation`` that names
    it, such as ``"relu"``; activation modules are found without.
    """

    def __init__(self) -> None:
        self._layers: dict[str, nn.Parameter] | None = None
        self._layer_names: tuple[str, ...] = ()
        self._widths: list[int] = []
        self._activations: list[str] = []
        self._steps: list[int] = []
        self._moved: dict[str, list[list[float]]] = {name: [] for name in _MOVED}
        self._seen: list[dict[str, tuple[float, ...]]] = []
        self._losses: list[float] = []
        self._retreats: list[int] = []
        self._sums = np.zeros((PARTS, 0), np.float32)
        self._counts = np.zeros((PARTS, 0), np.uint16)
        self._pending: list[tuple[int, npt.NDArray[np.int64], Tensor, Tensor, Tensor]] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._old: list[Tensor] = []
        self._looking = False

    # --- while it trains -------------------------------------------------------------------------

    @property
    def is_looking(self) -> bool:
        """Whether the step that has begun is one that it looks at."""
        return self._looking

    def before(self, step: int, network: nn.Module) -> None:
        """A step begins."""
        self._looking = is_due(step)
        if not self._looking:
            return
        self._layers = {name: p for name, p in network.named_parameters() if p.requires_grad and p.ndim >= 2}
        self._layer_names = tuple(self._layers)
        self._widths = [len(p) for p in self._layers.values()]
        self._steps.append(step)
        self._seen.append({})
        for name, module in network.named_modules():
            kind = _KINDS.get(type(module)) or getattr(module, "activation", None)
            if isinstance(kind, str):
                self._hooks.append(module.register_forward_hook(self._hook(name, kind)))

    @torch.no_grad()
    def gradients(self) -> None:
        """The backward pass is done, the weights are still where they were."""
        if not self._looking or self._layers is None:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        weights = list(self._layers.values())
        self._moved["gradients"].append([_rms(p.grad) if p.grad is not None else 0.0 for p in weights])
        self._moved["weights"].append([_rms(p) for p in weights])
        self._old = [p.detach().clone() for p in weights]

    @torch.no_grad()
    def after(
        self,
        progress: float,
        positions: npt.NDArray[np.int64],
        loss: Tensor,
        logits: Tensor,
        labels: Tensor,
        images: int,
    ) -> None:
        """The weights have moved.

        Args:
            progress: share of the training that was done before this step, 0 to 1.
            positions: places of the batch's images in the training split.
            loss: of the batch.
            logits, labels: of the batch, before the step.
            images: of the training split.
        """
        if self._looking and self._layers is not None:
            moved = zip(self._layers.values(), self._old, strict=True)
            self._moved["updates"].append([_rms(new - old) for new, old in moved])
            self._old = []
        if self._sums.shape[1] != images:
            self._sums, self._counts = np.zeros((PARTS, images), np.float32), np.zeros((PARTS, images), np.uint16)
        part = min(int(progress * PARTS), PARTS - 1)
        self._pending.append((part, positions, loss.detach(), logits.detach(), labels))
        if len(self._pending) >= FLUSH:
            self._flush()

    def retreat(self, step: int) -> None:
        """A loss or a weight was not a number, and the training has gone back to its best weights."""
        self._retreats.append(step)

    def latest_losses(self) -> npt.NDArray[np.float32]:
        """Of each training image the loss in the part of the training in which it was last seen; NaN before that."""
        self._flush()
        latest = np.full(self._sums.shape[1], np.nan, np.float32)
        for sums, counts in zip(self._sums, self._counts, strict=True):
            np.divide(sums, counts, out=latest, where=counts > 0)
        return latest

    # --- afterwards ------------------------------------------------------------------------------

    def recordings(self) -> Recordings:
        """What has been seen so far."""
        self._flush()
        looks = len(self._moved["updates"])
        with np.errstate(invalid="ignore"):
            losses = np.where(self._counts > 0, self._sums / np.maximum(self._counts, 1), np.nan)
        missing = (math.nan,) * len(_SEEN)
        seen = np.array(
            [[look.get(name, missing) for name in self._activations] for look in self._seen[:looks]], np.float32
        ).reshape(looks, len(self._activations), len(_SEEN))
        tables: dict[str, Any] = {
            name: np.array(self._moved[name][:looks], np.float32).reshape(looks, len(self._layer_names))
            for name in _MOVED
        }
        tables |= {name: np.ascontiguousarray(seen[:, :, place]) for place, name in enumerate(_SEEN)}
        return Recordings(
            layers=self._layer_names,
            widths=np.array(self._widths, np.int64),
            activations=tuple(self._activations),
            steps=np.array(self._steps[:looks], np.int64),
            losses=np.array(self._losses, np.float32),
            retreats=np.array(self._retreats, np.int64),
            image_losses=np.clip(losses, 0, 60_000).astype(np.float16),
            **tables,
        )

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What resuming needs, as arrays by name; names of layers and activations stand in :meth:`names`."""
        arrays, _ = self.recordings().flatten()
        return {**arrays, "sums": self._sums, "counts": self._counts.astype(np.int64)}

    def names(self) -> dict[str, list[str]]:
        return {"layers": list(self._layer_names), "activations": self._activations}

    @classmethod
    def restored(cls, arrays: Mapping[str, npt.NDArray[Any]], names: Mapping[str, list[str]]) -> Watcher:
        """The inverse of :meth:`state` and :meth:`names`.

        Raises:
            KeyError, TypeError, ValueError: something is missing or has a wrong shape.
        """
        watcher = cls()
        watcher._layer_names = tuple(map(str, names["layers"]))
        watcher._widths = arrays["widths"].tolist()
        watcher._activations = list(map(str, names["activations"]))
        watcher._steps = arrays["steps"].tolist()
        watcher._moved = {name: arrays[name].tolist() for name in _MOVED}
        seen = np.stack([arrays[name] for name in _SEEN], 2)
        watcher._seen = [
            {name: tuple(look[place].tolist()) for place, name in enumerate(watcher._activations)} for look in seen
        ]
        watcher._losses = arrays["losses"].tolist()
        watcher._retreats = arrays["retreats"].tolist()
        watcher._sums, watcher._counts = arrays["sums"].copy(), arrays["counts"].astype(np.uint16)
        return watcher

    # --- how -------------------------------------------------------------------------------------

    def _hook(self, name: str, kind: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
            # A module that is used twice is seen where it is used first.
            if name in self._seen[-1]:
                return
            if name not in self._activations:
                self._activations.append(name)
            self._seen[-1][name] = describe_activation(output, kind)

        return look

    def _flush(self) -> None:
        if not self._pending:
            return
        parts, positions, losses, logits, labels = zip(*self._pending, strict=True)
        self._pending = []
        # Fetched together: a GPU is waited for once.
        self._losses += torch.stack(losses).tolist()
        each = F.cross_entropy(torch.cat(logits).float(), torch.cat(labels), reduction="none").cpu().numpy()
        ends = np.cumsum([len(places) for places in positions])[:-1]
        for part, places, those in zip(
            parts, positions, np.split(np.nan_to_num(each, nan=60_000.0), ends), strict=True
        ):
            # The positions of a batch are different from each other.
            self._sums[part, places] += those
            self._counts[part, places] += 1


@torch.no_grad()
def describe_activation(output: Tensor, kind: str) -> tuple[float, float, float, float]:
    """Share of dead channels, share of saturated outputs, spread across images, likeness of neighbouring channels.

    Args:
        output: (N, C) or (N, C, H, W).
        kind: of the activation, such as ``"relu"``.

    Returns:
        As in :class:`~rung.training.recordings.Recordings`.
    """
    seen = output.detach()[:IMAGES]
    if seen.ndim == 4:
        seen = seen[:, :, :: max(1, seen.shape[2] // SIDE), :: max(1, seen.shape[3] // SIDE)].flatten(2)
    else:
        seen = seen.flatten(1)[:, :, None]
    values_CNP = seen.transpose(0, 1).float()
    flat = values_CNP.flatten(1)
    dead = float((flat.abs().amax(1) == 0).float().mean()) if kind == "relu" else 0.0
    saturated = 0.0
    if kind == "sigmoid":
        saturated = float(((flat < 0.02) | (flat > 0.98)).float().mean())
    elif kind == "tanh":
        saturated = float((flat.abs() > 0.96).float().mean())
    power = float(flat.square().mean())
    spread = float(values_CNP.var(1, correction=0).mean() / power) ** 0.5 if power > 0 else 0.0
    centred = flat - flat.mean(1, keepdim=True)
    norms = centred.norm(dim=1)
    products = (centred[:-1] * centred[1:]).sum(1) / (norms[:-1] * norms[1:])
    alike = products[products.isfinite()]
    return dead, saturated, spread, float(alike.mean()) if len(alike) else math.nan


def look_at(model: Classifier, split: Split, precision: str, images: int | None = None) -> Predicted:
    """What a classifier says about a split, or about ``images`` evenly spaced images of it."""
    every = max(1, len(split) // images) if images else 1
    positions = np.arange(0, len(split), every)
    chosen = split if every == 1 else split.subset(positions)
    return Predicted(predict(model, chosen, precision=precision), chosen.labels, positions)


def conclude(watcher: Watcher, model: Classifier, dataset: Dataset, precision: str) -> Recordings:
    """What was seen of a training, with what the finished classifier says about training and validation images.

    Args:
        watcher: of the training.
        model: with the weights that are kept, before its temperature is set.
        dataset: its test split is not looked at.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``.
    """
    train = look_at(model, dataset.train, precision, TRAIN_SAMPLE)
    val = look_at(model, dataset.val, precision)
    batch, running = norm_accuracies(model, dataset.train, precision)
    return replace(watcher.recordings(), train=train, val=val, batch_accuracy=batch, running_accuracy=running)


def norm_accuracies(model: Classifier, split: Split, precision: str) -> tuple[float, float]:
    """Accuracy on the same images where batch normalisation takes the statistics of their batch, and the running ones.

    Nothing of the model changes. Both are NaN for a network without batch normalisation.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return math.nan, math.nan
    sample = split.subset(np.arange(0, len(split), max(1, len(split) // NORM_SAMPLE))[:NORM_SAMPLE])
    running = predict(model, sample, precision=precision, views=1)
    kept = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    was_training = model.training
    model.eval()
    try:
        for norm in norms:
            norm.train()
        batch = _predict_as_set(model, sample, precision)
    finally:
        for norm, values in zip(norms, kept, strict=True):
            for name, value in norm.named_buffers():
                value.copy_(values[name])
        model.train(was_training)
    return float((batch == sample.labels).mean()), float((running.argmax(1) == sample.labels).mean())


@torch.no_grad()
def _predict_as_set(model: Classifier, sample: Split, precision: str) -> npt.NDArray[np.int64]:
    """Classes of the images, two hundred and fifty at a time, with every module in the mode that it is in."""
    device, found = model.mean.device, []
    # A last batch of a single image would have no statistics.
    for part in np.array_split(np.arange(len(sample)), max(1, len(sample) // 250)):
        with autocast(device, precision):
            logits = model(torch.from_numpy(sample.take(part)).to(device))
        found.append(logits.argmax(1).cpu().numpy())
    return np.concatenate(found)


def _rms(values: Tensor) -> float:
    return float(values.detach().float().norm()) / math.sqrt(values.numel())
