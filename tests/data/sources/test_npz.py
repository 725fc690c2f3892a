from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rung.data import load, source
from rung.data.sources import npz
from rung.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3), np.uint8)
LABELS = np.arange(30) % 3


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS[..., 0], PIXELS[..., :1]),
        (PIXELS[..., :1], PIXELS[..., :1]),
        (PIXELS.transpose(0, 3, 1, 2), PIXELS),
        (np.asfortranarray(PIXELS), PIXELS),
        (PIXELS / 255, PIXELS),
        ((PIXELS / 255).astype(np.float32), PIXELS),
        (PIXELS.astype(np.float32), PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS.astype(">i2"), PIXELS),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
        (PIXELS[..., 0] > 127, (PIXELS[..., :1] > 127) * 255),
        (np.concatenate([PIXELS, np.full((30, 6, 5, 1), 255, np.uint8)], 3), PIXELS),
        (np.concatenate([PIXELS, np.zeros((30, 6, 5, 1), np.uint8)], 3), np.full_like(PIXELS, 255)),
    ],
)
def test_layouts_and_types_of_images(x: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:
    dataset = load(save(tmp_path / "data.npz", x=x, y=LABELS))
    assert np.array_equal(dataset.train.images, expected)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (LABELS, "012"),
        (LABELS[:, None], "012"),
        (LABELS.astype(np.float32), "012"),
        (np.eye(3)[LABELS], "012"),
        (np.eye(3, dtype=bool)[LABELS], "012"),
        (np.array(["a", "b", "c"])[LABELS], "abc"),
        (np.array([b"a", b"b", b"c"])[LABELS], "abc"),
    ],
)
def test_types_of_labels(y: np.ndarray, classes: str, tmp_path: Path) -> None:
    dataset = load(save(tmp_path / "data.npz", x=PIXELS, y=y))
    assert dataset.classes == tuple(classes)
    for split in dataset.splits:
        assert np.array_equal(split.labels, LABELS[split.rows])


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_splits(names: tuple[str, ...], tmp_path: Path) -> None:
    arrays = dict(zip(names, (PIXELS[:24], LABELS[:24], PIXELS[24:], LABELS[24:]), strict=True))
    dataset = load(save(tmp_path / "data.npz", **arrays))
    assert dataset.test.rows.tolist() == list(range(24, 30))


def test_validation_split_class_names_and_compression(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(
        path,
        train_images=PIXELS[:18],
        train_labels=LABELS[:18, None],
        val_images=PIXELS[18:24],
        val_labels=LABELS[18:24, None],
        test_images=PIXELS[24:],
        test_labels=LABELS[24:, None],
        class_names=np.array(["ant", "bee", "cow"]),
    )
    dataset = load(path)
    assert [len(split) for split in dataset.splits] == [18, 6, 6]
    assert dataset.classes == ("ant", "bee", "cow")


def test_a_folder_with_one_archive(tmp_path: Path) -> None:
    save(tmp_path / "data.npz", x=PIXELS, y=LABELS)
    assert load(tmp_path).train.images.shape == PIXELS.shape


def test_arrays_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "_CHUNK_BYTES", 700)
    assert np.array_equal(load(save(tmp_path / "data.npz", x=PIXELS, y=LABELS)).train.images, PIXELS)


def with_value(value: float) -> np.ndarray:
    changed = PIXELS.astype(np.float32)
    changed[7, 2, 2, 1] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": with_value(np.nan), "y": LABELS}, "NaN or infinite in x"),
        ({"x": with_value(np.inf), "y": LABELS}, "NaN or infinite"),
        ({"x": with_value(-1), "y": LABELS}, "pixels from -1 to"),
        ({"x": with_value(1000), "y": LABELS}, "to 1000"),
        ({"x": PIXELS, "y": LABELS[:-1]}, "30 images but 29 labels"),
        ({"x": PIXELS, "y": np.float64(3)}, "30 images but 0 labels"),
        ({"x": PIXELS}, r"has the arrays x;"),
        ({"x": PIXELS.reshape(30, -1), "y": LABELS}, r"shape \(30, 90\)"),
        ({"x": PIXELS[:, :, :, :2], "y": LABELS}, "C 1, 3 or 4"),
        ({"x": PIXELS, "y": np.ones((30, 3))}, "not one-hot"),
        ({"x": PIXELS, "y": np.zeros((30, 3, 2))}, "must be .N,. or one-hot"),
        ({"x": PIXELS.astype(object), "y": LABELS}, "Python objects"),
        ({"x": PIXELS, "y": LABELS.astype(object)}, "Python objects"),
        ({"x": PIXELS.astype(str), "y": LABELS}, "images of the type"),
        ({"x": PIXELS, "y": LABELS + 0.5}, "not whole numbers"),
        ({"x": PIXELS, "y": LABELS * 0}, "one class only"),
        ({"x": PIXELS[:0], "y": LABELS[:0]}, "no training images"),
        ({"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:, 1:], "y_test": LABELS}, "different sizes"),
        ({"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS + 1}, r"no training images \(3\)"),
    ],
)
def test_unusable_arrays(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(save(tmp_path / "data.npz", **arrays))
    assert "data.npz" in str(caught.value)


def test_damaged_archives(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.npz", x=PIXELS, y=LABELS).read_bytes()
    for content in (b"", b"PK\3\4", whole[:-100], whole[:300] + b"\xff" * 200 + whole[500:]):
        (tmp_path / "cut.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"cut\.npz"):
            load(tmp_path / "cut.npz")


def test_a_header_that_claims_too_much(tmp_path: Path) -> None:
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 32, 32)})
    for content in (member.getvalue(), b"\x93NUMPY\x01\0\x10\0{'descr': [[[[[[", b"no array"):
        with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
            archive.writestr("x.npy", content)
        with pytest.raises(DataError, match=r"x\.npy in .*claims"):
            load(tmp_path / "claims.npz")


def test_an_array_in_the_order_of_fortran_is_read_whole_and_may_not_be_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "data.npz", x=np.asfortranarray(PIXELS), y=LABELS)
    monkeypatch.setattr(npz, "_CHUNK_BYTES", 700)
    monkeypatch.setattr(npz, "_FORTRAN_BYTES_MOST", PIXELS.nbytes)
    assert np.array_equal(load(path).train.images, PIXELS)
    monkeypatch.setattr(npz, "_FORTRAN_BYTES_MOST", PIXELS.nbytes - 1)
    other = save(tmp_path / "other.npz", x=np.asfortranarray(PIXELS[:, ::-1]), y=LABELS)
    with pytest.raises(DataError, match=r"x\.npy in .*other.* Fortran's order"):
        load(other)


def test_more_images_than_can_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "IMAGES_MOST", 29)
    with pytest.raises(DataError, match="claims 30 images; at most 29"):
        load(save(tmp_path / "data.npz", x=PIXELS[:, :, ::-1], y=LABELS))


def test_half_a_character_in_a_label_can_be_written(tmp_path: Path) -> None:
    # NumPy does not check what it stores.
    y = np.array([0x61, 0x62, 0xD800], np.uint32).view("U1")[LABELS]
    assert load(save(tmp_path / "data.npz", x=PIXELS, y=y)).classes == ("\\ud800", "a", "b")
