"""From pixels to probabilities: the network with its normalisation, as one module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rung.memory import keeping_freed_memory

# Numbers, one for each pixel and colour, that are predicted together, at most: 250 images of 224×224 in colour. Larger
# images fill the memory.
MOST_NUMBERS = 250 * 224 * 224 * 3

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Classifier(nn.Module):
    """A network that takes raw pixels: the preprocessing is part of the model.

    Args:
        network: takes normalised images, float (N, C, H, W), and gives logits (N, K).
        mean: of the training images' pixels, one value a channel, from 0 to 255.
        std: their standard deviation.
        views: how many versions of an image are averaged to predict it: 1 as it is, 2 with its mirror
            image, 6 with both also shifted by a pixel (Jordan 2024, arXiv:2404.00498, section 3.2).

    ``temperature``, 1 until somebody sets it, divides the logits before they become probabilities; it changes how
    sure the answers are, not which they are.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor

    def __init__(self, network: nn.Module, mean: npt.ArrayLike, std: npt.ArrayLike, views: int = 1) -> None:
        super().__init__()
        self.network = network
        self.views = views
        self.register_buffer("mean", torch.as_tensor(np.asarray(mean), dtype=torch.float32))
        self.register_buffer("std", torch.as_tensor(np.asarray(std), dtype=torch.float32))
        self.register_buffer("temperature", torch.tensor(1.0))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) to float32 (N, C, H, W) with mean 0 and deviation 1, channels last in memory."""
        # A processor is quick with rows of numbers, and slow with three at a time.
        width = images.shape[2]
        rows = (images.flatten(2).float() - self.mean.repeat(width)) / self.std.repeat(width)
        return rows.view(images.shape).permute(0, 3, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of uint8 images (N, H, W, C), one view of each."""
        logits: Tensor = self.network(self.normalise(images))
        return logits

    def predict(self, images: Tensor) -> Tensor:
        """Probabilities, float32 (N, K), of uint8 images (N, H, W, C), averaged over ``views``."""
        inputs_NCHW = self.normalise(images)
        total: Tensor | None = None
        for view, weight in _views(inputs_NCHW, self.views):
            logits = self.network(view.contiguous(memory_format=torch.channels_last)).float() * weight
            total = logits if total is None else total + logits
        assert total is not None
        return (total / self.temperature).softmax(1)


def view_weights(count: int, size: tuple[int, int]) -> tuple[float, ...]:
    """The weight of each view of an image of ``size`` (height, width), in their order; the weights sum to 1."""
    sides = 1 if count == 1 else 2
    # Nothing can be reflected into an image of a single row or column.
    each = (0.5, 0.25, 0.25) if count == 6 and min(size) > 1 else (1.0,)
    return tuple(weight / sides for weight in each) * sides


def _views(images_NCHW: Tensor, count: int) -> Iterator[tuple[Tensor, float]]:
    """The versions of a batch whose logits are averaged, each with its weight."""
    height, width = images_NCHW.shape[2:]
    weights = view_weights(count, (height, width))
    versions: list[Tensor] = []
    for side in [images_NCHW] if count == 1 else [images_NCHW, images_NCHW.flip(3)]:
        versions.append(side)
        if len(weights) == 6:
            padded = F.pad(side, (1, 1, 1, 1), "reflect")
            versions += [padded[:, :, :height, :width], padded[:, :, 2 : 2 + height, 2 : 2 + width]]
    yield from zip(versions, weights, strict=True)


class Pixels(Protocol):
    """What can be predicted: anything with a length that hands out uint8 images (n, H, W, C)."""

    def __len__(self) -> int: ...

    def take(self, positions: slice, /) -> npt.NDArray[np.uint8]: ...


class ArrayPixels:
    """:class:`Pixels` from an array, uint8 (N, H, W, C)."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def take(self, positions: slice, /) -> npt.NDArray[np.uint8]:
        return self._images[positions]


@keeping_freed_memory()
@torch.inference_mode()
def predict(
    model: Classifier,
    images: Pixels,
    *,
    precision: str = "float32",
    batch_size: int | None = None,
    views: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Class probabilities of every image, shape (N, K), with the memory of one batch.

    Args:
        model: left in the mode, training or evaluation, that it was in.
        images: a split, for example.
        precision: of the arithmetic, ``"float32"`` or ``"bfloat16"``.
        batch_size: images at a time; by default :func:`images_at_once`, and fewer where they are large.
        views: instead of the model's own.
        progress: told the number of images done after each batch.
    """
    was_training, own_views = model.training, model.views
    device = model.mean.device
    batch_size = batch_size or _fitting(images_at_once(model.network, device), images)
    try:
        model.eval()
        model.views = views or own_views
        expect = getattr(model.network, "expect", None)
        if expect is not None:
            expect(len(images), precision)
        parts = []
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(images.take(slice(start, start + batch_size))).to(device)
            with autocast(device, precision):
                parts.append(model.predict(batch))
            if progress:
                progress(min(start + batch_size, len(images)))
        # Fetched together: each fetching waits for a GPU, which then waits for the next batch.
        found: npt.NDArray[np.float32] = torch.cat(parts).cpu().numpy()
        return found
    finally:
        model.views = own_views
        model.train(was_training)


def images_at_once(network: nn.Module, device: torch.device) -> int:
    """How many images to predict together: 250, or on a CPU what the network has found better there."""
    return int(getattr(network, "images_at_once", 250)) if device.type == "cpu" else 250


def _fitting(at_once: int, images: Pixels) -> int:
    return min(at_once, max(8, MOST_NUMBERS // images.take(slice(0, 1)).size)) if len(images) else at_once


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Arithmetic in ``precision`` where it is safe, float32 elsewhere."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "float32")
