"""Tiny data sets, so that a training takes a second: other images for every seed."""

from __future__ import annotations

from functools import cache

import numpy as np

from rung.data.dataset import Dataset, Images, Labels, Split

TRAIN, VAL = {"digits": 1000, "cifar10": 1600, "generated": 1200}, 500


@cache
def _digits() -> tuple[Images, Labels]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (bunch.images[..., None] * 15.9).astype(np.uint8), bunch.target.astype(np.int64)


@cache
def _cifar10() -> tuple[Images, Labels]:
    """The training images of CIFAR-10, each 4×4 pixels made one."""
    from rung.data import load

    train = load("cifar10").train
    images = np.concatenate([train.take(slice(start, start + 5000)) for start in range(0, 20_000, 5000)])
    halved = images.reshape(len(images), 8, 4, 8, 4, 3).mean((2, 4)).astype(np.uint8)
    return halved, train.labels[: len(images)]


def generated(random: np.random.Generator, count: int, classes: int = 6, side: int = 8) -> tuple[Images, Labels]:
    """Smooth blotches: three patterns a class, moved about and buried in noise."""
    coarse = random.normal(0, 1, (classes, 3, 4, 4))
    patterns = coarse.repeat(side // 4, 2).repeat(side // 4, 3)
    labels = np.arange(count, dtype=np.int64) % classes
    random.shuffle(labels)
    chosen = patterns[labels, random.integers(0, 3, count)]
    moved = np.stack([np.roll(p, tuple(random.integers(-1, 2, 2)), (0, 1)) for p in chosen])
    pixels = 128 + 40 * moved + random.normal(0, 48, moved.shape)
    return pixels.clip(0, 255).astype(np.uint8)[..., None], labels


def tiny(name: str, seed: int) -> Dataset:
    """``"digits"``, ``"cifar10"`` or ``"generated"``: 1,000 to 1,600 training and 500 validation images."""
    random = np.random.default_rng((seed, len(name)))
    count = TRAIN[name] + VAL
    if name == "generated":
        images, labels = generated(random, count)
    else:
        images, labels = _digits() if name == "digits" else _cifar10()
        chosen = random.permutation(len(images))[:count]
        images, labels = images[chosen], labels[chosen]
    rows = np.arange(count)
    parts = {"train": rows[: TRAIN[name]], "val": rows[TRAIN[name] :], "test": rows[:0]}
    splits = {part: Split(part, images, chosen, labels[chosen]) for part, chosen in parts.items()}
    names = tuple(str(k) for k in range(int(labels.max()) + 1))
    return Dataset(name, "a benchmark", names, **splits, fingerprint=f"{name}-{seed}")
