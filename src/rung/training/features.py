"""What a pretrained network sees in images: computed once, and kept in the cache for the next training on them."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.data.cache import Cache
from rung.data.dataset import Dataset, Split
from rung.errors import DataError
from rung.models.classifier import Classifier, autocast, images_at_once
from rung.models.pretrained import PretrainedNetwork

# Images beyond which the two sides of each are averaged instead of learnt from apart.
APART = 5000
# Bytes of features, or of pixels, beyond which they are not kept, and that all that are kept may take together.
KEPT, KEPT_TOGETHER = 256 * 2**20, 2**30
_KIND, _FILE = "features", "features.npy"
# To be raised when the same images, weights and packages give other features.
_VERSION = 2
# What computes them, apart from this package.
_PACKAGES = ("torch", "onnx", "onnxruntime", "timm", "numpy")


@dataclass(frozen=True)
class Features:
    """What a backbone sees in the images of a split: ``sides`` of each (as it is, and mirrored), float32 (S, N, D)."""

    sides: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, positions: npt.NDArray[np.int64]) -> Features:
        chosen = torch.from_numpy(positions)
        return Features(self.sides[:, chosen], self.labels[chosen])

    def to_learn(self) -> tuple[Tensor, Tensor]:
        """Rows to learn from, and their labels: every side by itself, or for many images their mean."""
        if len(self.sides) == 1 or len(self) > APART:
            return self.sides.mean(0), self.labels
        return self.sides.flatten(0, 1), self.labels.repeat(len(self.sides))

    def to_predict(self) -> Tensor:
        """One row an image: the mean of its sides, as predictions average them."""
        return self.sides.mean(0)


@torch.inference_mode()
def features_of(
    model: Classifier,
    split: Split,
    precision: str,
    *,
    mirrored: bool,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda done: None,
) -> Features:
    """The features of every image of a split, or of those that were reached when ``stop`` said so.

    Those of all images are kept in the cache, and taken from there where the pixels, the weights and what computes
    are the same.

    Args:
        model: a classifier with a pretrained network.
        split: the images.
        precision: of the backbone's arithmetic.
        mirrored: whether the mirror image of each is a second side of it.
        stop: asked before each batch but the first.
        progress: told the number of images done after each batch.
    """
    network, device = model.network, model.mean.device
    assert isinstance(network, PretrainedNetwork)
    # In an order that mixes the classes, so that a part of them is a sample.
    order = np.random.default_rng(0).permutation(len(split))
    labels = torch.from_numpy(split.labels[order])
    shape = (1 + mirrored, len(split), sum(network.widths))
    keeping = max(4 * math.prod(shape), len(split) * split.images[0].nbytes) <= KEPT
    was_training = network.training
    network.eval()
    parts: list[Tensor] = []
    try:
        # Also where nothing is to be computed: what comes after is not to depend on that.
        network.expect(len(split), precision)
        key = _key(model, split, precision, mirrored) if keeping else ""
        if keeping and (known := _kept(key, shape)) is not None:
            progress(len(split))
            return Features(known, labels)
        at_once = images_at_once(network, device)
        for start in range(0, len(split), at_once):
            if start and stop():
                break
            chosen = order[start : start + at_once]
            batch = model.normalise(torch.from_numpy(split.take(chosen)).to(device))
            sides = [batch, batch.flip(3)] if mirrored else [batch]
            with autocast(device, precision):
                rows = [network.features(side.contiguous(memory_format=torch.channels_last)) for side in sides]
            parts.append(torch.stack(rows).cpu())
            progress(start + len(chosen))
    finally:
        network.train(was_training)
    sides_SND = torch.cat(parts, 1)
    parts.clear()
    if keeping and sides_SND.shape == shape:
        _keep(key, sides_SND)
    return Features(sides_SND, labels[: sides_SND.shape[1]])


def features_of_all(model: Classifier, dataset: Dataset, precision: str, *, mirrored: bool) -> Features:
    """The features of the images of all splits together; arguments as of :func:`features_of`."""
    parts = [features_of(model, split, precision, mirrored=mirrored) for split in dataset.splits if len(split)]
    return Features(torch.cat([part.sides for part in parts], 1), torch.cat([part.labels for part in parts]))


def _key(model: Classifier, split: Split, precision: str, mirrored: bool) -> str:
    """SHA-256 over everything that the features depend on, to the last bit."""
    network = model.network
    assert isinstance(network, PretrainedNetwork)
    config = network.config
    device = model.mean.device
    how = (config.backbone, config.side, mirrored, precision, images_at_once(network, device), network.engine)
    where = ([_installed(name) for name in _PACKAGES], device.type, torch.get_num_threads())
    whole = hashlib.sha256(repr((_VERSION, how, where, model.mean.tolist(), model.std.tolist())).encode())
    for name, values in network.backbone.state_dict().items():
        whole.update(name.encode())
        whole.update(values.cpu().contiguous().view(-1).numpy().data)
    whole.update(repr((len(split), split.images.shape[1:])).encode())
    for start in range(0, len(split), 1000):
        whole.update(np.ascontiguousarray(split.take(slice(start, start + 1000))).data)
    return whole.hexdigest()


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _read(place: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A map of the file, of which nothing is read but that it is what it should be."""
    values: npt.NDArray[np.float32] = np.load(place / _FILE, mmap_mode="r", allow_pickle=False)
    if values.shape != shape or values.dtype != np.float32:
        raise ValueError(f"{place} does not have the features that it should have")
    return values


def _kept(key: str, shape: tuple[int, ...]) -> Tensor | None:
    with contextlib.suppress(DataError):
        for place in Cache().places(_KIND, key):
            with contextlib.suppress(OSError, ValueError, EOFError):
                return torch.from_numpy(np.array(_read(place, shape)))
    return None


def _keep(key: str, sides_SND: Tensor) -> None:
    """Put features into the cache, where there is room, and take the oldest out beyond :data:`KEPT_TOGETHER`."""

    def make(folder: Path) -> None:
        np.save(folder / _FILE, sides_SND.numpy(), allow_pickle=False)

    with contextlib.suppress(DataError, OSError):  # They can be computed again.
        cache = Cache()
        if cache.is_temporary:
            return
        cache.require(sides_SND.nbytes)
        cache.entry(_KIND, key, lambda place: _read(place, tuple(sides_SND.shape)), make)
        cache.trim(_KIND, KEPT_TOGETHER)
