from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rung.data import find_source, load
from rung.data.names import KNOWN
from rung.data.sources import cifar
from rung.errors import DataError

PER_FILE = 6
NAMES = {"cifar10": KNOWN["cifar10"].classes, "cifar100": tuple(f"fine {i:02}" for i in range(100))}
EDITIONS = [("cifar10", False), ("cifar10", True), ("cifar100", False), ("cifar100", True)]


def contents(name: str, python: bool) -> dict[str, bytes]:
    """A small edition: the files by name. Image i of all is filled with the bytes i (red), i + 1 and i + 2."""
    files: dict[str, bytes] = {}
    if name == "cifar10":
        members = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
        meta, labels_key, names_key = "batches.meta", b"labels", b"label_names"
    else:
        members, meta, labels_key, names_key = ["train", "test"], "meta", b"fine_labels", b"fine_label_names"
    for number, member in enumerate(members):
        start = number * PER_FILE
        index = np.arange(start, start + PER_FILE)
        pixels = np.repeat((index[:, None] + np.arange(3)).astype(np.uint8), 1024, axis=1)
        labels = (index % 2).tolist()
        if python:
            batch = {b"data": pixels, labels_key: labels, b"filenames": [b"x.png"] * PER_FILE}
            files[member] = pickle.dumps(batch, 2)
        else:
            columns = [np.array(labels, np.uint8)[:, None], pixels]
            if name == "cifar100":
                columns.insert(0, np.full((PER_FILE, 1), 9, np.uint8))
            files[f"{member}.bin"] = np.concatenate(columns, 1).tobytes()
    if python:
        files[meta] = pickle.dumps({names_key: [text.encode() for text in NAMES[name]]}, 2)
    else:
        listed = "".join(f"{text}\n" for text in NAMES[name]) + "\n"
        files["batches.meta.txt" if name == "cifar10" else "fine_label_names.txt"] = listed.encode()
    return files


def archive(path: Path, files: dict[str, bytes], folder: str = "cifar-x") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        # The official archives have their files in no particular order.
        for name in sorted(files, key=lambda name: name[::-1]):
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    return path


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def check(dataset, name: str) -> None:
    trained = PER_FILE * (5 if name == "cifar10" else 1)
    assert dataset.classes == NAMES[name][:2]
    assert len(dataset.train) + len(dataset.val) == trained
    assert len(dataset.test) == PER_FILE
    assert dataset.train.images.shape == (trained + PER_FILE, 32, 32, 3)
    for row in (0, trained - 1, trained + 2):
        assert (dataset.train.images[row] == np.array([row, row + 1, row + 2])).all()
    for split in dataset.splits:
        assert np.array_equal(split.labels, split.rows % 2)


@pytest.mark.parametrize(("name", "python"), EDITIONS)
@pytest.mark.filterwarnings("error")
def test_archives_folders_and_names(name: str, python: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = contents(name, python)
    packed = archive(tmp_path / "some.tar.gz", files)
    check(load(packed), name)
    folder = unpacked(tmp_path / "plain", files)
    check(load(folder), name)
    unpacked(tmp_path / "data" / name / "cifar-inner", files)
    monkeypatch.setenv("RUNG_DATA", str(tmp_path / "data"))
    check(load(name), name)
    assert find_source(name).name == name


def test_an_archive_below_rung_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar10").mkdir()
    archive(tmp_path / "cifar10" / "cifar-10-binary.tar.gz", contents("cifar10", False))
    monkeypatch.setenv("RUNG_DATA", str(tmp_path))
    check(load("cifar10"), "cifar10")
    assert load("cifar10").fingerprint == load("cifar10").fingerprint


def test_a_link_in_an_archive_leads_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    files = contents("cifar10", False)
    with tarfile.open(path, "w:gz") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("data_batch_1.bin")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(f"../../{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    check(load(path), "cifar10")
    assert not list(tmp_path.parent.glob("*.bin"))


def drop(name: str) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.pop(name) and None


def change(name: str, edit: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({name: edit(files[name])})


@pytest.mark.parametrize(
    ("python", "edit", "message"),
    [
        (False, drop("test_batch.bin"), "lacks test_batch.bin"),
        (False, drop("data_batch_3.bin"), "lacks data_batch_3.bin"),
        (False, change("data_batch_2.bin", lambda content: content[:-1]), "not a multiple of 3073"),
        (False, change("data_batch_2.bin", lambda content: b""), "0 bytes"),
        (False, change("data_batch_1.bin", lambda content: b"\xc8" + content[1:]), "the label 200"),
        (True, change("test_batch", lambda content: content[:-20]), "damaged"),
        (True, change("test_batch", lambda content: b"cos\nsystem\n(S'exit'\ntR."), "os.system"),
        (True, change("test_batch", lambda content: pickle.dumps({"labels": [1]}, 2)), "no array of 3072 bytes"),
        (True, change("test_batch", lambda content: pickle.dumps({"labels": ["a"]}, 2)), "no list of whole numbers"),
        (
            True,
            change("test_batch", lambda _: pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, 2)),
            "2 images but 1 labels",
        ),
    ],
)
def test_damage(python: bool, edit: Callable[[dict[str, bytes]], None], message: str, tmp_path: Path) -> None:
    files = contents("cifar10", python)
    edit(files)
    for path in (archive(tmp_path / "some.tar.gz", files), unpacked(tmp_path / "plain", files)):
        with pytest.raises(DataError, match=message) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_archives_that_are_damaged_or_something_else(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar.gz", contents("cifar10", False)).read_bytes()
    for content in (b"", b"no archive", whole[:3], whole[: len(whole) // 2], whole[:40] + b"\xff" * 40 + whole[80:]):
        path = tmp_path / "cut.tar.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cut\.tar\.gz"):
            load(path)
    with pytest.raises(DataError, match="not one of the official CIFAR archives"):
        load(archive(tmp_path / "photos.tar.gz", {"cat.png": b"x"}))


def test_class_names_are_optional(tmp_path: Path) -> None:
    files = contents("cifar10", False)
    del files["batches.meta.txt"]
    assert load(unpacked(tmp_path / "plain", files)).classes == ("0", "1")


def test_what_is_passed_over_in_an_archive_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "_ARCHIVE_MOST", 10**6)
    files = contents("cifar10", False)
    check(load(archive(tmp_path / "good.tar.gz", files)), "cifar10")
    padded = {**files, **{f"padding{i}": bytes(300_000) for i in range(4)}}
    with pytest.raises(DataError, match="more than 1,000,000 bytes"):
        load(archive(tmp_path / "padded.tar.gz", padded))
