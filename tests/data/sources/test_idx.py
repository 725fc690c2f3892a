from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from rung.data import find_source, load
from rung.data.sources import idx as reader
from rung.errors import DataError


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


IMAGES = {
    part: np.random.default_rng(i).integers(0, 256, (count, 7, 5))
    for i, (part, count) in enumerate({"train": 40, "t10k": 20}.items())
}
LABELS = {part: np.arange(len(values)) % 10 for part, values in IMAGES.items()}


def write(folder: Path, zipped: bool = False, dot: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in IMAGES:
        for kind, values in (("images", IMAGES[part]), ("labels", LABELS[part])):
            name = f"{part}-{kind}{'.' if dot else '-'}idx{values.ndim}-ubyte"
            content = idx(values)
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", [".", "raw", "MNIST/raw"])
def test_mnist_layout(zipped: bool, below: str, tmp_path: Path) -> None:
    write(tmp_path / below, zipped)
    dataset = load(tmp_path)
    assert np.array_equal(dataset.train.images[..., 0], np.concatenate(list(IMAGES.values())))
    assert dataset.channels == 1
    assert [len(dataset.train) + len(dataset.val), len(dataset.test)] == [40, 20]
    assert np.array_equal(dataset.test.labels, LABELS["t10k"])
    assert dataset.classes == tuple("0123456789")


def test_a_single_file_and_names_with_a_dot(tmp_path: Path) -> None:
    write(tmp_path, dot=True)
    assert load(tmp_path / "train-images.idx3-ubyte").test.images.shape == (60, 7, 5, 1)


def test_fashion_mnist_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "fashion-mnist", zipped=True)
    monkeypatch.setenv("RUNG_DATA", str(tmp_path))
    source = find_source("fashion-mnist")
    assert source.classes[0] == "T-shirt/top" and source.classes[-1] == "ankle boot"
    assert find_source(tmp_path / "fashion-mnist").classes == source.classes


def test_the_plain_file_is_preferred(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    assert len(load(tmp_path).test) == 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", idx(IMAGES["train"])[:-1], "incomplete"),
        ("train-images-idx3-ubyte", idx(IMAGES["train"]) + b"x", "longer than its header"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x03" + idx(IMAGES["train"])[4:], "not an IDX file of unsigned bytes"),
        ("train-images-idx3-ubyte", b"", "incomplete"),
        ("train-images-idx3-ubyte", idx(LABELS["train"]), "should hold images"),
        ("train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 8, 3, 40, 2**31, 2**31), "should hold images"),
        ("train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 7, 5), "claims 4,294,967,295 images"),
        ("train-labels-idx1-ubyte", struct.pack(">HBBI", 0, 8, 1, 40) + bytes(39), "incomplete"),
        # Told by the header, before any of them is read.
        ("train-labels-idx1-ubyte", struct.pack(">HBBI", 0, 8, 1, 2**32 - 1), "40 images but 4,294,967,295 labels"),
        ("train-labels-idx1-ubyte", idx(LABELS["train"][:-1]), "40 images but 39 labels"),
        ("train-labels-idx1-ubyte", idx(IMAGES["train"]), "should hold labels"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((20, 6, 6))), "different sizes"),
        # Without the time: the processes that share the tests must give them the same names.
        ("train-labels-idx1-ubyte", gzip.compress(idx(LABELS["train"]), mtime=0)[:-12], "cannot be read"),
    ],
)
def test_damage(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (write(tmp_path) / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_missing_half(tmp_path: Path) -> None:
    (write(tmp_path) / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no file with the labels of the train split"):
        load(tmp_path)


def test_large_images_come_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_BATCH_BYTES", 3 * 7 * 5)
    batches = list(find_source(write(tmp_path)).reader.batches())
    assert {len(batch.images) for batch in batches} <= {1, 2, 3}
    assert np.array_equal(
        np.concatenate([batch.images for batch in batches])[..., 0], np.concatenate(list(IMAGES.values()))
    )
