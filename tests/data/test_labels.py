from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rung.data.labels import class_order, few, index_labels
from rung.errors import DataError


def objects(*values: object) -> np.ndarray[Any, Any]:
    filled = np.empty(len(values), object)
    filled[:] = values
    return filled


def test_numbers_keep_their_order_and_gaps_close() -> None:
    indexed = index_labels({"train": np.array([10, 2, 10, 7]), "test": np.array([7, 2, 10])}, "data")
    assert indexed.classes == ("2", "7", "10")
    assert indexed.labels["train"].tolist() == [2, 0, 2, 1]
    assert indexed.labels["test"].tolist() == [1, 0, 2]
    assert indexed.labels["test"].dtype == np.int64
    assert indexed.notes == ()


@pytest.mark.parametrize(
    "values",
    [
        np.array(["dog", "cat", "dog"]),
        np.array([b"dog", b"cat", b"dog"]),
        objects("dog", "cat", "dog"),
        objects(b"dog", "cat", "dog"),
    ],
)
def test_text_and_bytes(values: np.ndarray[Any, Any]) -> None:
    indexed = index_labels({"train": values}, "data")
    assert indexed.classes == ("cat", "dog")
    assert indexed.labels["train"].tolist() == [1, 0, 1]


def test_both_unicode_forms_of_a_name_are_one_class() -> None:
    indexed = index_labels({"train": objects("caf\u00e9", "cafe\u0301", "猫")}, "data")
    assert indexed.classes == ("caf\u00e9", "猫")


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.float32, np.float64])
def test_numeric_types(kind: type) -> None:
    assert index_labels({"train": np.array([1, 0, 1], kind)}, "data").labels["train"].tolist() == [1, 0, 1]


def test_names_and_classes_without_images() -> None:
    indexed = index_labels({"train": np.array([0, 2, 2])}, "data", ("ape", "bee", "cow"))
    assert indexed.classes == ("ape", "cow")
    assert indexed.labels["train"].tolist() == [0, 1, 1]
    assert "bee" in indexed.notes[0]


def test_a_test_split_without_labels_is_left_out() -> None:
    indexed = index_labels({"train": np.array([0, 1]), "test": np.array([-1, -1])}, "data")
    assert "test" not in indexed.labels
    assert "no labels" in indexed.notes[0]


def test_classes_that_a_split_lacks_are_told() -> None:
    indexed = index_labels({"train": np.array([0, 1, 2]), "val": np.array([1])}, "data")
    assert indexed.notes == ("The val split has no images of 0, 2.",)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"train": np.array([0.5, 1.0])}, "not whole numbers"),
        ({"train": np.array([0.0, np.nan])}, "NaN"),
        ({"train": np.array([0.0, 1e300])}, "not whole numbers"),
        ({"train": np.array([0, -3])}, "label -3"),
        ({"train": objects("a", None)}, "without a label"),
        ({"train": objects("a", 3)}, "label 3"),
        ({"train": np.array([1j])}, "type complex128"),
        ({"train": np.array([2**63], np.uint64)}, "64-bit"),
        ({"train": np.array([], np.int64)}, "no training images"),
        ({"test": np.array([0, 1])}, "no training images"),
        ({"train": np.array([0, 1]), "test": objects("a")}, "numbers as labels in one split"),
        ({"train": np.array([0, 1]), "test": np.array([1, 5])}, r"no training images \(5\)"),
    ],
)
def test_unusable_labels(raw: dict[str, np.ndarray[Any, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        index_labels(raw, "the data")
    assert "the data" in str(caught.value)


def test_label_beyond_the_names() -> None:
    with pytest.raises(DataError, match="label 2 in the train split, but names for 2 classes"):
        index_labels({"train": np.array([0, 2])}, "data", ("a", "b"))


def test_class_order_and_few() -> None:
    assert class_order(["10", "9", "1"]) == ["1", "9", "10"]
    assert class_order(["b", "a", "10"]) == ["10", "a", "b"]
    assert few(range(7), 3) == "0, 1, 2 and 4 more"
    assert few("ab") == "a, b"
