from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from rung.data import decoding, find_source, load, materialise
from rung.data.decoding import FileNames
from rung.errors import DataError

ClassFolders = Callable[..., Path]


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "images").iterdir())


def test_the_cache_is_used_again(
    class_folders: ClassFolders, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path, {"a": 6, "b": 6})
    first = load(tmp_path)
    assert isinstance(first.train.images, np.memmap)
    monkeypatch.setattr(decoding, "_decode_into", lambda *_: pytest.fail("decoded again"))
    second = load(tmp_path)
    assert second.fingerprint == first.fingerprint
    assert np.array_equal(second.train.images, first.train.images)
    assert [second.train.file(i) for i in range(3)] == [first.train.file(i) for i in range(3)]
    with pytest.raises(pytest.fail.Exception):
        load(tmp_path, image_size=8)
    assert len(entries(cache_dir)) == 1


def test_images_npy_is_an_ordinary_file(class_folders: ClassFolders, cache_dir: Path, tmp_path: Path) -> None:
    dataset = load(class_folders(tmp_path, {"a": 6, "b": 6}))
    (entry,) = entries(cache_dir)
    assert np.array_equal(np.load(entry / "images.npy"), dataset.train.images)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "parts.npy", "about.json", "names.txt"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_a_damaged_cache_is_made_again(
    name: str, damage: str, class_folders: ClassFolders, cache_dir: Path, tmp_path: Path
) -> None:
    class_folders(tmp_path, {"a": 6, "b": 6})
    fingerprint = load(tmp_path).fingerprint
    (entry,) = entries(cache_dir)
    file = entry / name
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else file.read_bytes()[:-20])
    dataset = load(tmp_path)
    assert dataset.fingerprint == fingerprint
    assert np.array_equal(dataset.train.take([0]).shape, (1, 12, 10, 3))


def test_the_result_does_not_depend_on_workers(class_folders: ClassFolders, tmp_path: Path) -> None:
    source = find_source(class_folders(tmp_path / "data", {"a": 40, "b": 40}))
    datasets = [
        materialise(source, image_size=9, workers=workers, cache_dir=tmp_path / f"cache{workers}") for workers in (1, 4)
    ]
    assert datasets[0].fingerprint == datasets[1].fingerprint
    assert np.array_equal(datasets[0].train.images, datasets[1].train.images)


def test_arrays_are_resized_like_images(tmp_path: Path) -> None:
    from PIL import Image

    from rung.data import prepare

    values = np.random.default_rng(0).integers(0, 256, (12, 9, 7, 3), np.uint8)
    np.savez(tmp_path / "data.npz", x=values, y=np.arange(12) % 2)
    dataset = load(tmp_path / "data.npz", image_size=(4, 5))
    assert np.array_equal(dataset.train.images[3], prepare(Image.fromarray(values[3]), (4, 5), 3))


def test_progress_reaches_its_end(class_folders: ClassFolders, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    load(class_folders(tmp_path, {"a": 10, "b": 7}), progress=lambda *call: calls.append(call))
    assert ("Looking at the images", 17, 17) in calls
    assert calls[-1] == ("Decoding the images", 17, 17)


def test_stopping_leaves_nothing_behind(class_folders: ClassFolders, cache_dir: Path, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 10, "b": 7})

    def stop(description: str, done: int, total: int | None) -> None:
        if description.startswith("Decoding"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, progress=stop)
    assert entries(cache_dir) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert len(load(tmp_path).train.images) == 17


def test_no_room(class_folders: ClassFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path, {"a": 10, "b": 7})
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10})())
    with pytest.raises(DataError, match="choose a smaller image size"):
        load(tmp_path)


def test_two_processes_at_once(class_folders: ClassFolders, cache_dir: Path, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 60, "b": 60})
    script = f"from rung.data import load; print(load({str(tmp_path)!r}).fingerprint)"
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert found == {load(tmp_path).fingerprint}
    assert len(entries(cache_dir)) == 1


@pytest.mark.parametrize("count", [10, 14])
def test_data_that_changes_while_it_is_read(count: int, encoded: Callable[..., bytes], tmp_path: Path) -> None:
    def write(rows: int) -> None:
        images = pa.array([{"bytes": encoded(row), "path": None} for row in range(rows)])
        parquet.write_table(pa.table({"image": images, "label": [row % 2 for row in range(rows)]}), path)

    path = tmp_path / "data.parquet"
    write(12)
    source = find_source(path)
    write(count)
    with pytest.raises(DataError, match="changed while it was read"):
        materialise(source)


def test_memory_is_bounded(tmp_path: Path) -> None:
    count = 4000
    images = np.zeros((count, 64, 64), np.uint8)
    images[::2] = 255
    np.savez_compressed(tmp_path / "data.npz", x=images, y=np.arange(count) % 2)
    del images
    source = find_source(tmp_path / "data.npz")
    tracemalloc.start()
    materialise(source, workers=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 64 * count * 3, f"{peak / 2**20:.0f} MB"


def test_file_names(tmp_path: Path) -> None:
    names = ["a/1.png", 'quo"te', "line\nbreak", "猫", ""]
    path = tmp_path / "names.txt"
    path.write_bytes(b"".join(decoding._line(name) for name in names))
    listed = FileNames.open(path, 5)
    assert list(listed) == names
    assert listed[-1] == "" and listed[1:3] == names[1:3]
    with pytest.raises(IndexError):
        listed[5]
    with pytest.raises(ValueError, match="damaged"):
        FileNames.open(path, 4)
