from __future__ import annotations

import numpy as np
import pytest

from rung.data.dataset import Split
from rung.data.probe import Probe, probe
from rung.data.sources.digits import Digits


def split_of(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split("train", images, np.arange(len(images)), labels.astype(np.int64))


def strokes(count: int, symmetric: bool, size: int = 16, seed: int = 0) -> Split:
    """Two classes: bars on the left or right (mirroring swaps them), or at the top or bottom (it does not)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    images = random.integers(0, 80, (count, size, size, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        half = slice(0, size // 4) if label == 0 else slice(-size // 4, None)
        image[half if symmetric else slice(None), slice(None) if symmetric else half] += 120
    return split_of(images, labels)


def test_easy_data_is_seen_to_be_easy() -> None:
    found = probe(strokes(400, symmetric=True), 2, seed=0)
    assert found.accuracy > 0.97
    assert found.images == 200


def test_mirroring_is_safe_where_classes_are_symmetric() -> None:
    assert probe(strokes(400, symmetric=True), 2, seed=0).mirroring_is_safe


@pytest.mark.parametrize("count", [60, 400])
def test_mirroring_is_refused_where_it_swaps_classes(count: int) -> None:
    found = probe(strokes(count, symmetric=False), 2, seed=0)
    assert found.mirrored_accuracy < 0.1
    assert not found.mirroring_is_safe


def test_handwritten_digits_are_not_mirrored() -> None:
    (batch,) = Digits().batches()
    found = probe(split_of(np.asarray(batch.images), batch.labels), 10, seed=0)
    assert found.accuracy > 0.9
    assert not found.mirroring_is_safe


def test_data_without_structure_is_at_chance() -> None:
    random = np.random.default_rng(0)
    split = split_of(random.integers(0, 256, (1000, 8, 8, 1), np.uint8), random.integers(0, 4, 1000))
    found = probe(split, 4, seed=0)
    assert 0.15 < found.accuracy < 0.35
    assert found.mirroring_is_safe


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (8, 8), (9, 15), (64, 50)])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_any_shape_and_very_few_images(size: tuple[int, int], count: int) -> None:
    random = np.random.default_rng(0)
    split = split_of(random.integers(0, 256, (count, *size, 3), np.uint8), np.arange(count) % 2)
    found = probe(split, 2, seed=0)
    assert 0 <= found.accuracy <= 1 and 0 <= found.mirrored_accuracy <= 1


def test_a_single_image_tells_nothing() -> None:
    assert probe(split_of(np.zeros((1, 4, 4, 1), np.uint8), np.zeros(1)), 2, seed=0) == Probe(0.5, 0.5, 1)


def test_at_most_a_sample_is_looked_at_and_the_seed_chooses_it() -> None:
    split = strokes(500, symmetric=True)
    assert probe(split, 2, seed=0, sample=100).images == 50
    assert probe(split, 2, seed=3) == probe(split, 2, seed=3)
    # A constant image leaves no variance to divide by.
    flat = split_of(np.zeros((20, 4, 4, 1), np.uint8), np.arange(20) % 2)
    assert 0 <= probe(flat, 2, seed=0).accuracy <= 1
