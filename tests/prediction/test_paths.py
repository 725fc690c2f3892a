"""Which files are meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rung.errors import DataError
from rung.prediction import paths
from rung.prediction.paths import Refused, check_paths, image_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "deep/er/c.webp", "deep/d.png", "[x].png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return tmp_path


def names(found: object, root: Path) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in found]


def test_a_folder_means_the_images_in_and_below_it_by_name(tree: Path) -> None:
    assert names(image_files(tree), tree) == ["[x].png", "a.JPG", "b.png", "deep/d.png", "deep/er/c.webp"]


def test_a_large_folder_is_not_held_to_be_sorted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "SORTED", 2)
    assert sorted(names(image_files(tree), tree)) == ["[x].png", "a.JPG", "b.png", "deep/d.png", "deep/er/c.webp"]


def test_patterns(tree: Path) -> None:
    assert sorted(names(image_files(str(tree / "*.png")), tree)) == ["[x].png", "b.png"]
    assert sorted(names(image_files(str(tree / "**" / "*")), tree)) == sorted(
        ["[x].png", "a.JPG", "b.png", "deep/d.png", "deep/er/c.webp"]
    )
    assert names(image_files(str(tree / "de*")), tree) == ["deep/d.png", "deep/er/c.webp"]
    with pytest.raises(DataError, match="no file fits"):
        check_paths(str(tree / "*.gif"))


def test_a_name_that_looks_like_a_pattern_is_a_file_where_there_is_one(tree: Path) -> None:
    assert names(image_files(tree / "[x].png"), tree) == ["[x].png"]


def test_what_is_not_there_is_given_on(tree: Path) -> None:
    assert names(image_files([tree / "missing.png", tree / "notes.txt"]), tree) == ["missing.png", "notes.txt"]


@pytest.mark.parametrize("url", ["https://example.org/a.png", "file:///a.png", "s3://bucket/a.png"])
def test_urls_are_refused_with_a_hint(url: str) -> None:
    with pytest.raises(DataError, match="download it first"):
        check_paths(url)


def test_what_cannot_be_read_is_told_in_its_place(tree: Path) -> None:
    nothing = str(tree / "*.gif")
    found = list(image_files(["http://localhost/a.png", nothing, tree / "b.png"]))
    assert [type(path) for path in found] == [Refused, Refused, str]
    assert isinstance(found[1], Refused) and found[1].path == nothing and "no file fits" in found[1].reason


def test_a_folder_without_permission_is_told_and_the_rest_goes_on(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    # Root may read everything, so permissions alone would not do.
    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    *files, last = image_files(tree)
    assert names(files, tree) == ["[x].png", "a.JPG", "b.png"]
    assert last == Refused(str(tree / "deep"), "this folder cannot be read: permission denied")
    check_paths([tree, tree / "deep", str(tree / "de*")])


def test_links_to_folders_are_not_followed(tree: Path) -> None:
    (tree / "deep" / "loop").symlink_to(tree)
    assert len(list(image_files(tree))) == 5
