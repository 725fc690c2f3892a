from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rung.data import load
from rung.data.dataset import Dataset
from rung.diagnosis.look import SAMPLE, DataLook, find_hints, look_at, pixel_values, reduced, two_samples


@pytest.fixture(scope="module")
def photographs() -> tuple[np.ndarray, np.ndarray]:
    """Smooth pictures with something of their class in the middle, and their labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 600)
    coarse = random.uniform(40, 215, (600, 6, 6, 3))
    coarse[:, 2:4, 2:4] = 60 + 45 * labels[:, None, None, None] + random.normal(0, 25, (600, 2, 2, 3))
    images = np.repeat(np.repeat(coarse, 4, 1), 4, 2) + random.normal(0, 4, (600, 24, 24, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def excess(images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {hint.where: hint.interval[0] - hint.elsewhere for hint in find_hints(images, labels)}


def test_photographs_have_no_shortcut(photographs: tuple[np.ndarray, np.ndarray]) -> None:
    assert max(excess(*photographs).values()) < 0
    digits = load("digits")
    assert max(excess(digits.train.take(slice(None)), digits.train.labels).values()) < 0.05


def test_a_stamp_a_frame_and_a_pixel_are_noticed(photographs: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = photographs
    stamped = images.copy()
    stamped[:, :5, -5:] = (40 * labels[:, None, None, None]).astype(np.uint8)
    assert excess(stamped, labels)["a patch at the border"] > 0.1
    framed = images.copy()
    framed[:, [0, -1]] = framed[:, :, [0]] = (60 * labels[:, None, None, None]).astype(np.uint8)
    assert excess(framed, labels)["the frame of the image"] > 0.1
    marked = images.copy()
    marked[:, 20, 3] = (60 * labels[:, None]).astype(np.uint8)
    hint = find_hints(marked, labels)[2]
    assert hint.interval[0] - hint.elsewhere > 0.1
    assert hint.box == (20, 3, 21, 4)


@pytest.mark.parametrize("shape", [(50, 24, 24, 3), (200, 5, 5, 1)])
def test_too_little_for_hints(shape: tuple[int, ...]) -> None:
    labels = np.arange(shape[0]) % 2
    assert find_hints(np.zeros(shape, np.uint8), labels) == ()


def test_one_class_gives_no_hints() -> None:
    assert find_hints(np.zeros((200, 8, 8, 1), np.uint8), np.zeros(200, np.int64)) == ()


def test_two_samples_of_the_same_are_alike(photographs: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = photographs
    alike = two_samples(images[:300], images[300:])
    assert alike is not None
    assert alike.interval[0] < 0.5 < alike.interval[1]
    assert two_samples(images[:20], images[300:]) is None


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda images: (images * 0.7).astype(np.uint8), None),
        (lambda images: images[:, ::2, ::2].repeat(2, 1).repeat(2, 2), "sharpness"),
        (lambda images: images.mean(3, keepdims=True).astype(np.uint8).repeat(3, 3), "colourfulness"),
    ],
)
def test_two_samples_that_differ(
    change: Callable[[np.ndarray], np.ndarray], differs: str | None, photographs: tuple[np.ndarray, np.ndarray]
) -> None:
    images, _ = photographs
    found = two_samples(images[:300], change(images[300:]))
    assert found is not None
    assert found.interval[0] > 0.55
    assert differs in (None, found.differs[0])


def test_values_of_pixels() -> None:
    values = pixel_values(np.array([0, 1, 1, 9], np.uint8).reshape(1, 2, 2, 1))
    assert (values.least, values.most, values.levels) == (0, 9, 3)
    assert values.mean == (2.75,)


def test_large_images_are_reduced_without_mixing_values() -> None:
    images = np.random.default_rng(0).integers(0, 2, (3, 100, 70, 3), np.uint8)
    assert reduced(images).shape == (3, 34, 35, 3)
    assert set(np.unique(reduced(images))) <= {0, 1}


def test_a_data_set_is_looked_at(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(300, size=(12, 12), channels=3)
    look = look_at(dataset)
    assert isinstance(look, DataLook)
    assert look.counts == tuple(np.bincount(np.r_[dataset.train.labels, dataset.val.labels]).tolist())
    assert look.sizes == {"train": 300, "val": 100, "test": 100}
    assert len(look.hints) == 3
    assert look.hints[0].images == min(SAMPLE, 300)
    assert look.inverted[0] < 0.05 < look.inverted[1] + 1
