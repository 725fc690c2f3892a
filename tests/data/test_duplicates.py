"""Copies are found whatever was done to them; pictures that only look alike are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from rung.data import load
from rung.data.dataset import Split
from rung.data.duplicates import Place, find_duplicates

Pixels = np.ndarray


def scenes(count: int, size: tuple[int, int] = (32, 32), seed: int = 0, channels: int = 3) -> Pixels:
    """Random pictures with the falling spectrum of photographs: uint8 (n, H, W, C)."""
    height, width = size
    random = np.random.default_rng(seed)
    distance = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width)
    fields = np.fft.rfft2(random.normal(size=(count, channels, height, width))) / np.maximum(distance, 1)
    pixels = np.fft.irfft2(fields, s=size)
    pixels /= pixels.std((1, 2, 3), keepdims=True)
    return (128 + 45 * pixels).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def split(name: str, images: Pixels) -> Split:
    return Split(name, images, np.arange(len(images)), np.zeros(len(images), np.int64))


def compressed(image: Pixels) -> Pixels:
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "JPEG", quality=50)
    return np.asarray(Image.open(sink))


def shifted(image: Pixels) -> Pixels:
    return np.pad(image, ((2, 0), (0, 2), (0, 0)), "edge")[:-2, 2:]


@pytest.mark.parametrize(
    "change",
    [
        compressed,
        lambda image: image[:, ::-1],
        shifted,
        lambda image: (image * 0.9).astype(np.uint8),
        lambda image: (image * 1.1).clip(0, 255).astype(np.uint8),
        lambda image: compressed(np.ascontiguousarray(shifted(image)[:, ::-1])),
    ],
    ids=["compressed", "mirrored", "shifted", "darker", "brighter", "all at once"],
)
def test_every_changed_copy_is_found_and_nothing_else(change: Callable[[Pixels], Pixels]) -> None:
    images = scenes(300)
    copies = np.stack([change(image) for image in images[:30]])
    found = find_duplicates([split("train", images), split("test", copies)])
    assert {(pair.first, pair.second) for pair in found.pairs} == {
        (Place("train", number), Place("test", number)) for number in range(30)
    }
    assert all(0.7 < pair.similarity < 1 and pair.crosses and not pair.exact for pair in found.pairs)


def birds(count: int, seed: int = 1) -> Pixels:
    """Small dark things in an empty sky, which leave almost nothing to compare: uint8 (n, 32, 32, 3)."""
    random = np.random.default_rng(seed)
    images = np.full((count, 32, 32, 3), (150.0, 180.0, 210.0)) + np.linspace(-12, 12, 32)[:, None, None]
    for image in images:
        row, column = random.integers(8, 20), random.integers(8, 16)
        image[row : row + 4, column : column + 8] -= random.uniform(0, 140, (4, 8, 1))
    return images.round().astype(np.uint8)


def test_copies_of_pictures_that_show_little_are_found() -> None:
    images = np.concatenate([scenes(600), birds(30)])
    copies = np.stack([compressed(image) for image in images[600:]])
    found = find_duplicates([split("train", images), split("test", copies)])
    assert {(pair.first, pair.second) for pair in found.pairs} == {
        (Place("train", 600 + number), Place("test", number)) for number in range(30)
    }


def test_a_black_edge_against_a_bright_picture_hides_few_copies() -> None:
    images = (0.5 * scenes(300) + 120).astype(np.uint8)
    copies = np.pad(images, ((0, 0), (2, 0), (0, 2), (0, 0)))[:, :-2, 2:]
    found = find_duplicates([split("train", np.concatenate([scenes(600, seed=5), images])), split("test", copies)])
    assert len(found.pairs) > 285
    assert all(pair.first.position == 600 + pair.second.position and pair.shift == (2, -2) for pair in found.pairs)


def test_what_was_done_is_told() -> None:
    images = scenes(50)
    copies = np.stack([images[0][:, ::-1], shifted(images[1])])
    mirrored, moved = sorted(
        find_duplicates([split("train", images), split("test", copies)]).pairs, key=lambda pair: pair.second.position
    )
    assert mirrored.mirrored and mirrored.shift == (0, 0)
    assert not moved.mirrored and moved.shift == (2, -2)


def test_the_same_pixels_are_paired_with_their_first_occurrence_and_come_first() -> None:
    images = scenes(20)
    images[5] = images[9] = images[2]
    images[11] = images[3][:, ::-1]
    found = find_duplicates([split("train", images)])
    assert [(pair.first.position, pair.second.position) for pair in found.exact] == [(2, 5), (2, 9)]
    assert [pair.similarity for pair in found.exact] == [1.0, 1.0]
    assert [(pair.first.position, pair.second.position) for pair in found.near] == [(3, 11)]
    assert found.pairs == found.exact + found.near
    assert (found.images, found.compared) == (20, 18)


def test_leaks_are_asked_for_by_split() -> None:
    images = scenes(20)
    found = find_duplicates([split("train", images), split("val", images[:1]), split("test", images[4:6])])
    assert found.copied("test", "train") == (0, 1)
    assert found.copied("train", "test") == (4, 5)
    assert found.copied("val", "test") == ()
    assert len(found.between("val", "train")) == 1


def test_pictures_of_other_sizes_and_in_grey() -> None:
    for size, channels in (((70, 100), 3), ((28, 28), 1), ((32, 20), 1)):
        images = scenes(60, size, channels=channels)
        found = find_duplicates([split("train", images), split("test", images[:5, :, ::-1])])
        assert found.copied("test", "train") and len(found.pairs) == 5, size


def test_generated_pictures_have_no_copies() -> None:
    assert find_duplicates([split("train", scenes(4000, seed=3))]).pairs == ()


def test_pictures_of_classes_that_look_alike_are_no_copies(pictures: Callable[..., tuple[Pixels, Pixels]]) -> None:
    images, _ = pictures(600, 3, size=(32, 32), channels=3)
    assert find_duplicates([split("train", images)]).pairs == ()


def test_digits_do_not_flood() -> None:
    data = load("digits")
    assert len(find_duplicates(data.splits).pairs) < 0.01 * 1797


def test_blank_and_tiny_pictures_are_compared_exactly_only() -> None:
    blank = np.full((5, 16, 16, 3), 7, np.uint8)
    blank[3:] = 8
    found = find_duplicates([split("train", blank)])
    assert [(pair.first.position, pair.second.position) for pair in found.pairs] == [(0, 1), (0, 2), (3, 4)]
    tiny = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    assert find_duplicates([split("train", tiny)]).pairs == ()
    assert find_duplicates([split("train", scenes(1))]).pairs == ()


def test_of_too_many_images_a_sample_is_searched() -> None:
    images = scenes(100)
    found = find_duplicates([split("train", images), split("test", images[:, :, ::-1])], most=50)
    assert (found.images, found.compared) == (200, 50)
    assert find_duplicates([split("train", images)], near=False).compared == 0
