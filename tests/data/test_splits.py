from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.data.splits import allot, check_classes, cut, val_size
from rung.errors import DataError

labels_of_classes = st.lists(st.integers(1, 60), min_size=1, max_size=20).map(
    lambda counts: np.repeat(np.arange(len(counts)), counts)
)


@given(labels_of_classes, st.floats(0, 1), st.integers(0, 5))
def test_a_cut_is_a_partition_with_every_class_on_both_sides(labels: np.ndarray, fraction: float, seed: int) -> None:
    others, chosen = cut(labels, round(len(labels) * fraction), seed, "test")
    assert np.array_equal(np.sort(np.concatenate([others, chosen])), np.arange(len(labels)))
    left, taken = (np.bincount(labels[side], minlength=labels.max() + 1) for side in (others, chosen))
    assert (left >= 1).all()
    assert (taken[np.bincount(labels) >= 2] >= 1).all()


@given(labels_of_classes, st.floats(0, 1))
def test_shares_are_proportional_and_add_up(labels: np.ndarray, fraction: float) -> None:
    counts = np.bincount(labels)
    size = round(len(labels) * fraction)
    quotas = allot(counts, size)
    least, most = np.minimum(1, counts - 1).sum(), (counts - 1).sum()
    assert quotas.sum() == min(max(size, least), most)
    if least <= size <= most and (counts * fraction >= 1).all() and (counts * (1 - fraction) >= 1).all():
        assert (abs(quotas - counts * size / len(labels)) <= 1).all()


def test_the_seed_decides() -> None:
    labels = np.arange(1000) % 10
    again = [cut(labels, 100, seed, purpose)[1] for seed, purpose in ((0, "val"), (0, "val"), (1, "val"), (0, "test"))]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])
    assert not np.array_equal(again[0], again[3])
    assert (np.bincount(labels[again[0]]) == 10).all()


def test_the_choice_is_the_same_on_every_computer() -> None:
    assert cut(np.arange(40) % 2, 6, 0, "test")[1].tolist() == [0, 3, 11, 20, 23, 30]


def test_val_size() -> None:
    assert val_size(1000, None) == 100
    assert val_size(50_000, None) == 2500
    assert val_size(1000, 0.25) == 250
    assert val_size(50_000, 0.2) == 10_000


def test_check_classes() -> None:
    check_classes([3, 3], ["a", "b"], "data", 2)
    check_classes([1, 1], ["a", "b"], "data", 0)
    with pytest.raises(DataError, match=r"one class only \(a\)"):
        check_classes([9], ["a"], "data", 2)
    with pytest.raises(DataError, match=r"too few images of b \(1\), c \(2\): each class needs at least 3"):
        check_classes([9, 1, 2], ["a", "b", "c"], "data", 2)
    with pytest.raises(DataError, match="at least 2, for training and validation"):
        check_classes([9, 1], ["a", "b"], "data", 1)
