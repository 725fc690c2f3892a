from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import rung.data.cache as module
from rung.data.cache import Cache
from rung.errors import DataError


def read(folder: Path) -> str:
    return (folder / "value").read_text()


def writes(text: str) -> object:
    def make(folder: Path) -> None:
        (folder / "value").write_text(text)

    return make


def never(folder: Path) -> None:
    raise AssertionError("made again")


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that cannot be written to, also where the tests run as a user who may do everything."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    real = module._writable
    monkeypatch.setattr(module, "_writable", lambda path: path != folder and real(path))
    return folder


def test_the_place(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cache(tmp_path / "given").root == tmp_path / "given"
    assert Cache().root == cache_dir
    monkeypatch.delenv("RUNG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert Cache().root == tmp_path / "xdg" / "rung"


def test_a_file_in_the_place_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    cache = Cache(tmp_path / "taken")
    assert cache.root != tmp_path / "taken"
    assert cache.entry("kind", "key", read, writes("a")) == "a"
    assert "cannot be written to" in (cache.note or "")


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNG_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/rung"))
    cache = Cache()
    assert cache.root.is_absolute()
    cache.entry("kind", "nobody", read, writes("a"))
    assert "cache folder of this user" in (cache.note or "")


def test_an_unwritable_cache_is_still_read(unwritable: Path) -> None:
    made = unwritable / "kind" / "key"
    made.mkdir(parents=True)
    (made / "value").write_text("kept")
    cache = Cache(unwritable)
    assert cache.entry("kind", "key", read, never) == "kept"
    assert cache.note is None
    assert cache.entry("kind", "other", read, writes("new")) == "new"
    assert cache.note is not None


def test_an_entry_is_made_once() -> None:
    assert Cache().entry("kind", "key", read, writes("a")) == "a"
    assert Cache().entry("kind", "key", read, never) == "a"


def test_a_damaged_entry_is_made_again(cache_dir: Path) -> None:
    Cache().entry("kind", "key", read, writes("a"))
    (cache_dir / "kind" / "key" / "value").unlink()
    assert Cache().entry("kind", "key", read, writes("b")) == "b"


def test_a_half_made_entry_is_never_used(cache_dir: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "value").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cache().entry("kind", "key", read, fail)
    assert list((cache_dir / "kind").iterdir()) == []


def test_what_a_killed_process_left_is_cleared(cache_dir: Path) -> None:
    script = (
        "import os, pathlib, signal\nfrom rung.data.cache import Cache\n"
        "def make(folder):\n    (folder / 'value').write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Cache().entry('kind', 'key', lambda folder: (folder / 'value').read_text(), make)\n"
    )
    if not hasattr(os, "fork"):
        pytest.skip("no SIGKILL here")
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert any((cache_dir / "kind").iterdir())
    assert Cache().entry("kind", "key", read, writes("whole")) == "whole"
    assert [path.name for path in (cache_dir / "kind").iterdir()] == ["key"]


def test_two_at_once_make_it_once() -> None:
    made: list[str] = []

    def slowly(folder: Path) -> None:
        made.append("x")
        time.sleep(0.2)
        (folder / "value").write_text("a")

    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(Cache().entry("kind", "key", read, slowly))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["a"] * 3
    assert made == ["x"]


def test_a_full_disk(cache_dir: Path) -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="its disk is full; set RUNG_CACHE"):
        Cache().entry("kind", "key", read, fill)
    with pytest.raises(DataError, match=r"need 1048576\.0 GB"):
        Cache().require(2**50)
    Cache().require(1)


def test_small_facts_are_remembered(cache_dir: Path) -> None:
    cache = Cache()
    assert cache.remembered("facts", "a") is None
    cache.remember("facts", "a", {"x": [1, "é"]})
    assert Cache().remembered("facts", "a") == {"x": [1, "é"]}
    (cache_dir / "facts" / "a.json").write_text("{ half")
    assert Cache().remembered("facts", "a") is None
    assert [path.name for path in (cache_dir / "facts").iterdir()] == ["a.json"]


def test_failing_to_remember_is_no_error(cache_dir: Path) -> None:
    (cache_dir / "facts").touch()
    Cache().remember("facts", "a", 1)
    assert Cache().remembered("facts", "a") is None


def test_content_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    cache = Cache()
    both = cache.content_hash([("train", first), ("test", second)])
    assert both == cache.content_hash([("train", first), ("test", second)])
    assert both != cache.content_hash([("test", first), ("train", second)])
    os.utime(first, (1, 1))
    assert both == cache.content_hash([("train", first), ("test", second)])
    first.write_bytes(b"One")
    assert both != cache.content_hash([("train", first), ("test", second)])
    with pytest.raises(DataError, match="cannot read"):
        cache.content_hash([("train", tmp_path / "absent")])
    monkeypatch.setattr(module, "HASHED", 1)
    assert cache.content_hash([("train", first)]) != cache.content_hash([("train", second)])


def test_unchanged_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    file = tmp_path / "a"
    file.write_bytes(b"one")
    expected = Cache().content_hash([("train", file)])
    monkeypatch.setattr(module.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert Cache().content_hash([("train", file)]) == expected


def test_another_process_is_faster_where_locks_do_not_work(cache_dir: Path) -> None:
    def beaten(folder: Path) -> None:
        other = cache_dir / "kind" / "key"
        other.mkdir()
        (other / "value").write_text("theirs")
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    assert Cache().entry("kind", "key", read, beaten) == "theirs"
