from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.data.dataset import Split
from rung.data.lists import Listed, escape, identify, list_csv, read_list, unescape
from rung.errors import DataError


@given(st.text())
def test_escaping_can_be_undone(cell: str) -> None:
    assert unescape(escape(cell)) == cell
    assert not escape(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_list_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    rows = [("=cmd|' /C calc'!A0/1.png", "train", 'a, "b"\n'), ("'@x.png", "test", ""), (17, "val", "-1")]
    path.write_text(list_csv(("image", "split", "label"), rows), encoding="utf-8", newline="")
    assert read_list(path) == (
        Listed("=cmd|' /C calc'!A0/1.png", 'a, "b"\n', "train"),
        Listed("'@x.png", None, "test"),
        Listed("17", "-1", "val"),
    )


def test_other_peoples_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("﻿score,image\n0.5,梨/1.png\n\n,b.png\n", encoding="utf-8")
    assert read_list(path) == (Listed("梨/1.png"), Listed("b.png"))
    path.write_text("a/1.png\na/2.png\n", encoding="utf-8")
    assert read_list(path) == (Listed("a/1.png"), Listed("a/2.png"))
    path.write_text("image,label\n", encoding="utf-8")
    assert read_list(path) == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,label\n,a\n", "a line without an image"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        (b'image\n"' + b"x" * 200_000 + b'"\n', "cannot be read as CSV"),
    ],
)
def test_what_is_no_list(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_list(path)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no list"):
        read_list(tmp_path / "list.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_list(tmp_path)


def test_images_are_files_or_rows() -> None:
    images = np.zeros((4, 1, 1, 1), np.uint8)
    labels = np.zeros(2, np.int64)
    assert identify(Split("train", images, np.array([1, 3]), labels), 1) == "3"
    assert identify(Split("train", images, np.array([1, 3]), labels, ["a", "b", "c", "d"]), 1) == "d"
