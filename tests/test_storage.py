from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rung.errors import RunError
from rung.storage import CHECKSUMS, CheckedFolder, exclusive, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["pathlib.Path.open", "os.fsync", "os.replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_a_failure_of_any_call_leaves_the_old_file(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as context:
        context.setattr(call, failing(code))
        with pytest.raises(RunError, match=r"cannot write .*file: ") as error:
            write_atomically(path, b"new")
    assert os.strerror(code) in str(error.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_interruption_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as context:
        context.setattr("os.fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        order.append(f"fsync of {os.fstat(handle).st_size} bytes")
        fsync(handle)

    def noted_replace(source: str, target: Path) -> None:
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr("os.fsync", noted_fsync)
    monkeypatch.setattr("os.replace", noted_replace)
    write_atomically(tmp_path / "file", b"content")
    assert order[:2] == ["fsync of 7 bytes", "rename"]


DYING = """
import os, sys
from pathlib import Path
from rung import storage

kill_at, path, calls = int(sys.argv[1]), Path(sys.argv[2]), 0

def dying(function):
    def call(*arguments, **keywords):
        global calls
        calls += 1
        if calls == kill_at:
            os._exit(9)
        return function(*arguments, **keywords)
    return call

Path.open = dying(Path.open)
for name in ("fsync", "replace"):
    setattr(os, name, dying(getattr(os, name)))
{act}
"""
KILLED = DYING.format(act='storage.write_atomically(path, b"new" * 1000)')


@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_a_process_that_dies_at_any_call_leaves_the_old_file(kill_at: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    died = subprocess.run([sys.executable, "-c", KILLED, str(kill_at), str(path)], check=False)
    assert died.returncode == 9
    assert path.read_bytes() == b"old"
    # What it was writing may lie about, but under no name that anything reads.
    assert all(name == "file" or name.startswith(".file.") for name in names(tmp_path))
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_a_process_that_dies_afterwards_leaves_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    subprocess.run([sys.executable, "-c", KILLED, "99", str(path)], check=True)
    assert path.read_bytes() == b"new" * 1000
    assert names(tmp_path) == ["file"]


# --- checksums -----------------------------------------------------------------------------------


def test_what_was_written_is_read(tmp_path: Path) -> None:
    CheckedFolder(tmp_path).write("file", b"content")
    assert CheckedFolder(tmp_path).read("file") == b"content"


@pytest.mark.parametrize("altered", [b"", b"conten", b"Content", b"content!"])
def test_an_altered_file_is_named(altered: bytes, tmp_path: Path) -> None:
    CheckedFolder(tmp_path).write("file", b"content")
    (tmp_path / "file").write_bytes(altered)
    with pytest.raises(RunError, match=r"file is damaged or has been altered since it was written; restore it, or"):
        CheckedFolder(tmp_path).read("file")
    (tmp_path / CHECKSUMS).unlink()  # As the message says.
    assert CheckedFolder(tmp_path).read("file") == altered


def test_a_file_of_before_checksums_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    folder = CheckedFolder(tmp_path)
    folder.write("other", b"new")
    assert folder.read("file") == b"old"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"file": 1}', b"\xff", b"[" * 100_000])
def test_damaged_checksums_are_named(content: bytes, tmp_path: Path) -> None:
    CheckedFolder(tmp_path).write("file", b"content")
    (tmp_path / CHECKSUMS).write_bytes(content)
    with pytest.raises(RunError, match=r"checksums\.json (cannot be read|is damaged)"):
        CheckedFolder(tmp_path).read("file")


def test_a_removed_file_leaves_no_checksum(tmp_path: Path) -> None:
    folder = CheckedFolder(tmp_path)
    folder.write("file", b"content")
    folder.remove("file")
    folder.remove("never there")
    assert "file" not in (tmp_path / CHECKSUMS).read_text()
    with pytest.raises(FileNotFoundError):
        folder.read("file")


def test_checksums_do_not_pile_up(tmp_path: Path) -> None:
    folder = CheckedFolder(tmp_path)
    for number in range(20):
        folder.write("file", b"%d" % number)
    assert (tmp_path / CHECKSUMS).stat().st_size < 300


REWRITES = DYING.format(act="folder = storage.CheckedFolder(path.parent); folder.write(path.name, b'new')")


@pytest.mark.parametrize("kill_at", range(1, 8))
def test_a_process_that_dies_at_any_call_leaves_a_whole_file(kill_at: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    CheckedFolder(tmp_path).write("file", b"old")
    for _ in range(2):  # A second crash must not forget the file that the first one left.
        subprocess.run([sys.executable, "-c", REWRITES, str(kill_at), str(path)], check=False)
        assert CheckedFolder(tmp_path).read("file") in (b"old", b"new")
    CheckedFolder(tmp_path).write("file", b"newer")
    assert CheckedFolder(tmp_path).read("file") == b"newer"


# --- locks ---------------------------------------------------------------------------------------

HOLDS = """
import sys, time
from pathlib import Path
from rung.storage import exclusive
with exclusive(Path(sys.argv[1]), timeout=0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_kept_out_until_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with exclusive(path, timeout=0) as held:
        assert held
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with exclusive(path, timeout=0) as held:
            assert not held
        other.kill()
        other.wait()
        with exclusive(path, timeout=5) as held:
            assert held


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write_atomically(pipe, b"told")
        assert read.result(30) == b"told"
    assert pipe.is_fifo()
