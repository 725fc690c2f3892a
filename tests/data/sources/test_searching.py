from __future__ import annotations

import os
from pathlib import Path

import pytest

from rung.data.sources import searching
from rung.data.sources.searching import find_files


def found(folder: Path, depth: int) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_files(folder, lambda name: name.endswith(".x"), depth)]


def test_depth_hidden_files_and_order(tmp_path: Path) -> None:
    for name in ("b.x", "a.x", "a.y", ".hidden.x", "in/c.x", "in/deep/d.x", ".git/e.x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(tmp_path, 0) == ["a.x", "b.x"]
    assert found(tmp_path, 1) == ["a.x", "b.x", "in/c.x"]
    assert found(tmp_path, 2) == ["a.x", "b.x", "in/c.x", "in/deep/d.x"]


def test_a_folder_of_photos_is_left_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_STRANGERS", 5)
    seen = 0
    real = os.scandir

    class Counting:
        def __init__(self, path: Path) -> None:
            self.entries = real(path)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self.entries.close()

        def __iter__(self):
            nonlocal seen
            for entry in self.entries:
                seen += 1
                yield entry

    for number in range(50):
        (tmp_path / f"{number}.jpg").touch()
    monkeypatch.setattr(os, "scandir", Counting)
    assert found(tmp_path, 2) == []
    assert seen <= 10
