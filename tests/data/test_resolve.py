from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rung.data import find_source
from rung.data.cache import Cache
from rung.data.names import canonical
from rung.data.source import Inspection, Reader
from rung.data.sources.digits import Digits
from rung.errors import DataError


def test_what_is_not_there() -> None:
    with pytest.raises(DataError, match="no file or folder no/such/place, and no data set of that name; the names are"):
        find_source("no/such/place")
    with pytest.raises(DataError, match="did you mean cifar10"):
        find_source("cifar-10")
    with pytest.raises(DataError, match="no data was given"):
        find_source("")


def test_a_file_of_no_known_format(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="unpack it and give the folder"):
        find_source(tmp_path / "photos.zip")


def test_rung_data_comes_before_everything(
    class_folders: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path / "data" / "digits", {"one": 3, "two": 3})
    monkeypatch.setenv("RUNG_DATA", str(tmp_path / "data"))
    source = find_source("digits")
    assert source.classes == ("one", "two")
    assert source.name == "digits"
    assert source.origin == str(tmp_path / "data" / "digits")


def test_a_name_is_not_a_folder_of_the_same_name(
    class_folders: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path / "digits", {"one": 3, "two": 3})
    monkeypatch.chdir(tmp_path)
    assert find_source("digits").origin == "scikit-learn's digits"
    assert find_source("./digits").classes == ("one", "two")
    assert find_source(Path("digits")).classes == ("one", "two")


def test_a_downloaded_data_set_is_found(cache_dir: Path) -> None:
    folder = cache_dir / "downloads" / "mnist"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        header = bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 2])
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(80)))
        header = bytes([0, 0, 8, 1, 0, 0, 0, 20])
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + bytes(range(10)) * 2))
    source = find_source("mnist")
    assert source.origin == str(folder)
    assert source.summary.images == {"train": 20, "test": 20}


def test_the_second_look_comes_from_the_cache(
    class_folders: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path, {"one": 3, "two": 3})
    first = find_source(tmp_path)
    monkeypatch.setattr("rung.data.sources.folder.Folder.inspect", lambda *_: pytest.fail("looked again"))
    second = find_source(tmp_path)
    assert (second.classes, second.summary, second.notes) == (first.classes, first.summary, first.notes)


def test_a_damaged_memory_of_a_look_is_not_used(
    class_folders: Callable[..., Path], cache_dir: Path, tmp_path: Path
) -> None:
    class_folders(tmp_path, {"one": 3, "two": 3})
    first = find_source(tmp_path)
    (remembered,) = (cache_dir / "inspections").iterdir()
    for content in ("", "[]", "{}", '{"classes": [], "summary": {}, "notes": []}'):
        remembered.write_text(content)
        assert find_source(tmp_path).summary == first.summary


def test_inspections_survive_json() -> None:
    reader: Reader = Digits()
    inspection = reader.inspect(lambda *_: None)
    assert Inspection.from_dict(json.loads(json.dumps(inspection.to_dict()))) == inspection
    assert reader.content_key(Cache())


def test_spellings_of_names() -> None:
    assert canonical("FashionMNIST") == "fashion-mnist"
    assert canonical("fashion_mnist") == "fashion-mnist"
    assert canonical("CIFAR10") == "cifar10"
    assert canonical("photos") is None
