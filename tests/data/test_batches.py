from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rung.data.batches import Augmentation, Batches, Passes, ResidentBatches, augment
from rung.data.dataset import Split

PLAIN = Augmentation(flip=False, translate=0)


def numbered(count: int, height: int = 4, width: int = 5) -> Split:
    """Images that tell their number: every pixel of image n has the value n."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, height, width, 1))
    return Split("train", images, np.arange(count), np.arange(count) % 3)


# --- which images, in which order ----------------------------------------------------------------


@given(st.integers(2, 60), st.integers(1, 70), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_no_image_comes_twice_in_an_epoch(count: int, batch_size: int, seed: int) -> None:
    batches = Batches(numbered(count), batch_size, PLAIN, seed)
    for epoch in range(2):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        seen = np.concatenate([batches.positions(step) for step in steps])
        assert len(set(seen.tolist())) == len(seen) == batches.steps_per_epoch * batches.batch_size
        assert count - len(seen) < batches.batch_size


def test_images_keep_their_labels() -> None:
    batches = Batches(numbered(30), 7, Augmentation(flip=True, translate=2, cutout=0), 3)
    for step in range(9):
        images, labels = batches(step)
        assert images.dtype == torch.uint8 and images.shape == (7, 4, 5, 1)
        assert labels.dtype == torch.int64
        assert torch.equal(images[:, 0, 0, 0].long() % 3, labels)


def test_the_images_left_over_change_from_epoch_to_epoch() -> None:
    batches = Batches(numbered(11), 4, PLAIN, 0)
    left = set()
    for epoch in range(20):
        seen = {*batches.positions(2 * epoch).tolist(), *batches.positions(2 * epoch + 1).tolist()}
        left |= set(range(11)) - seen
    assert left == set(range(11))


def test_a_batch_is_a_function_of_seed_and_step_alone() -> None:
    varied = Augmentation(flip=True, translate=1, cutout=2)
    forwards, backwards = (Batches(numbered(40), 8, varied, 7) for _ in range(2))
    one = [forwards(step)[0] for step in range(12)]
    other = [backwards(step)[0] for step in reversed(range(12))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], Batches(numbered(40), 8, varied, 8)(0)[0])


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 7),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_images_that_stay_on_a_device_make_the_same_batches(
    height: int, width: int, flip: bool, translate: int, cutout: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (30, height, width, 3), np.uint8)
    split = Split("train", images, random.permutation(30)[:20], np.arange(20) % 3)
    varied = Augmentation(flip, translate, cutout)
    usual = Batches(split, 6, varied, seed)
    resident = ResidentBatches(split, 6, varied, seed, torch.device("cpu"))
    for step in (0, 1, 5):
        for one, other in zip(usual(step), resident(step), strict=True):
            assert torch.equal(one, other) and one.dtype == other.dtype


def test_an_image_is_mirrored_in_every_second_epoch() -> None:
    images = np.zeros((20, 4, 4, 1), np.uint8)
    images[:, :, 0] = 9  # the left edge
    images[:, 0, 0, 0] = np.arange(20)
    images[:, 0, 3, 0] = np.arange(20)
    split = Split("train", images, np.arange(20), np.zeros(20, np.int64))
    batches = Batches(split, 20, Augmentation(flip=True, translate=0), 0)
    sides = {number: [] for number in range(20)}
    for step in range(4):
        for image in batches(step)[0].numpy():
            sides[int(image[0, 0, 0])].append(bool(image[1, 0, 0] == 9))
    assert all(a != b and a == c and b == d for a, b, c, d in sides.values())
    # About half of them begin mirrored.
    assert 3 < sum(first for first, *_ in sides.values()) < 17


# --- how they are varied -------------------------------------------------------------------------


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Pixel by pixel: reflection at the border, without repeating the border itself."""
    height, width = image.shape[:2]

    def inside(place: int, size: int) -> int:
        while not 0 <= place < size:
            place = -place if place < 0 else 2 * (size - 1) - place
        return place

    out = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            out[y, x] = image[inside(y - down, height), inside(x - right, width)]
    return out


@given(
    st.integers(0, 2**32 - 1),
    st.integers(4, 7),
    st.integers(4, 7),
    st.sampled_from([1, 3]),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_shifts_and_flips_against_a_naive_reference(
    seed: int, height: int, width: int, channels: int, reach: int, flip: bool
) -> None:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (5, height, width, channels), np.uint8)
    flipped = random.random(5) < 0.5
    before = images.copy()
    varied = augment(images, Augmentation(flip=flip, translate=reach), flipped, np.random.default_rng(seed))
    assert np.array_equal(images, before)
    # The same draws as in the function: first all tops, then all lefts.
    tops, lefts = np.random.default_rng(seed).integers(0, 2 * reach + 1, (2, 5))
    for number in range(5):
        expected = shifted(images[number], reach - int(tops[number]), reach - int(lefts[number]))
        if flip and flipped[number]:
            expected = expected[:, ::-1]
        assert np.array_equal(varied[number], expected)


def test_every_shift_within_reach_occurs_and_none_beyond() -> None:
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 4] = 255
    images = np.repeat(image, 800, 0)
    varied = augment(images, Augmentation(False, 2), np.zeros(800, bool), np.random.default_rng(0))
    places = {tuple(place) for place in np.argwhere(varied[..., 0] == 255)[:, 1:].tolist()}
    assert places == {(y, x) for y in range(2, 7) for x in range(2, 7)}


def test_cutout_replaces_one_square_by_the_mean() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 9, 3), np.uint8)
    varied = augment(images, Augmentation(False, 0, cutout=3), np.zeros(50, bool), np.random.default_rng(1))
    mean = images.mean((0, 1, 2)).round().astype(np.uint8)
    places = set()
    for before, after in zip(images, varied, strict=True):
        changed = np.argwhere((before != after).any(2))
        (top, left), (bottom, right) = changed.min(0), changed.max(0)
        assert bottom - top < 3 and right - left < 3
        square = [(y, x) for y in range(8) for x in range(9) if (after[y, x] == mean).all()]
        assert len(square) >= 9
        places.add((top, left))
    assert len(places) > 15


def test_a_cutout_larger_than_the_image_covers_it() -> None:
    images = np.full((2, 4, 4, 1), 7, np.uint8)
    varied = augment(images, Augmentation(False, 0, cutout=9), np.zeros(2, bool), np.random.default_rng(0))
    assert (varied == 7).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 2)])
def test_images_smaller_than_a_shift(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *size, 1), np.uint8)
    varied = augment(images, Augmentation(True, 2), np.ones(3, bool), np.random.default_rng(0))
    assert varied.shape == images.shape


def test_passes_over_some_images_are_shorter() -> None:
    batches = Batches(numbered(40), 8, PLAIN, 2)
    assert [batches.pass_of(step) for step in (0, 4, 5, 11)] == [(0, 0), (0, 4), (1, 0), (2, 1)]
    kept = np.array([0, 3, 4, 7, 8, 11, 12, 15, 16, 19, 20, 23, 24, 27, 28, 31, 39])
    before = batches.positions(9)
    batches.passes = Passes(2, 10, kept)
    assert [batches.pass_of(step) for step in (10, 11, 12)] == [(2, 0), (2, 1), (3, 0)]
    for first in (10, 12):
        seen = np.concatenate([batches.positions(first), batches.positions(first + 1)])
        assert len(set(seen.tolist())) == 16 and set(seen.tolist()) <= set(kept.tolist())
    again = Batches(numbered(40), 8, PLAIN, 2)
    assert np.array_equal(again.positions(9), before)
    again.passes = Passes(2, 10, kept)
    assert np.array_equal(again.positions(13), batches.positions(13))


def test_an_image_is_mirrored_in_every_second_pass() -> None:
    """Of passes, not of epochs: two short ones can belong to the same."""
    rising = np.broadcast_to(np.arange(6, dtype=np.uint8)[None, None, :, None], (24, 4, 6, 1))
    split = Split("train", rising, np.arange(24), np.arange(24) % 3)
    batches = Batches(split, 12, Augmentation(flip=True, translate=0), 0)
    batches.passes = Passes(3, 6, np.arange(12))
    one, other = (batches(step)[0][:, 0, 0, 0] == 0 for step in (6, 7))
    assert torch.equal(one, ~other)
    assert one.any() and other.any()
