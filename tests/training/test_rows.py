from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rung.data.dataset import Dataset, Split
from rung.training.rows import LEAST, MOST, choose_rows


def sized(train: int, val: int) -> Dataset:
    images = np.zeros((1, 2, 2, 1), np.uint8)
    splits = [
        Split(name, images, np.zeros(count, np.int64), np.zeros(count, np.int64))
        for name, count in (("train", train), ("val", val), ("test", val))
    ]
    return Dataset("sized", "the tests", ("a", "b"), *splits, "")


@given(st.integers(20, 10_000), st.integers(1, 300), st.integers(1, 100_000), st.none() | st.floats(0.1, 1e4))
@settings(max_examples=200, deadline=None)
def test_neither_too_many_rows_nor_too_few(train: int, batch: int, steps: int, seconds: float | None) -> None:
    rows = choose_rows(sized(train, 50), batch, steps, seconds)
    assert rows.steps >= 1
    count = steps // rows.steps
    assert count <= MOST
    assert count >= min(LEAST, steps)
    epoch = max(1, train // batch)
    # Whole epochs, unless an epoch is long or the training short.
    assert rows.steps % epoch == 0 or rows.steps < epoch or steps < LEAST * epoch


def test_a_row_an_epoch_is_usual() -> None:
    assert choose_rows(sized(1000, 100), 100, steps=200).steps == 10


def test_short_epochs_share_a_row() -> None:
    dataset = sized(1000, 100)
    assert choose_rows(dataset, 100, steps=10_000).steps == 50
    # 2,000 steps in 4 s: at most 20 rows, 0.2 s apart.
    assert choose_rows(dataset, 100, steps=2_000, seconds=4.0).steps == 100


@pytest.mark.parametrize(("images", "expected"), [(45_000, 2500), (10_000, 900), (300, 100)])
def test_validation_costs_little_of_the_training(images: int, expected: int) -> None:
    rows = choose_rows(sized(images, 2500), 100, steps=images // 100 * 10)
    assert len(rows.validation) == expected


def test_a_part_of_the_validation_images_has_all_classes(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(900, 3)
    rows = choose_rows(dataset, 30, steps=240)
    assert len(rows.validation) < len(dataset.val)
    assert set(rows.validation.labels.tolist()) == {0, 1, 2}
