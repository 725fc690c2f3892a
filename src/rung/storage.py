"""Files that survive crashes: replaced in one instant, and checked when they are read.

A file is written beside its final name, flushed to the disk and renamed over it, so a crash at any instant leaves
either the old file or the new one. Its checksum is in the ``checksums.json`` of its folder before it gets its name,
beside that of the file which it replaces: whichever of the two a crash leaves is known to be whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from rung.errors import RunError

CHECKSUMS = "checksums.json"
_LOCK = ".checksums.lock"
# How often, and after how long, a file that another program on Windows has open is tried again.
RETRIES, RETRY_SECONDS = 20, 0.1


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one instant; what is no file, such as a pipe, is written to as it is.

    Raises:
        RunError: the disk is full, or the folder cannot be written to.
    """
    # Not tempfile, whose files only their owner may read: a report is there to be shown.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if is_device(path):
            path.write_bytes(content)
            return
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            _rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def is_device(path: Path) -> bool:
    """Whether there is a device or a pipe: nothing to be replaced by a file, as who may do everything could."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _rename(temporary: Path, path: Path) -> None:
    """Rename, on Windows as soon as nobody has the old file open: a spreadsheet or an indexer may for a moment."""
    for _ in range(RETRIES if os.name == "nt" else 0):
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(RETRY_SECONDS)
        else:
            return
    temporary.replace(path)


class CheckedFolder:
    """A folder whose files are replaced atomically and have their SHA-256 in its ``checksums.json``.

    Files without a checksum, of older versions or put there by others, are read as they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What is known to be on the disk, so that a checksum is kept no longer than it is needed.
        self._written: dict[str, str] = {}

    def write(self, name: str, content: bytes) -> None:
        """Replace the file ``name``.

        Raises:
            RunError: the disk is full, the folder cannot be written to, or its checksums are damaged.
        """
        new = hashlib.sha256(content).hexdigest()
        with self._locked():
            known = self._checksums()
            before = [self._written[name]] if name in self._written else known.get(name, [])
            known[name] = [new, *(old for old in before if old != new)]
            self._write_checksums(known)
        write_atomically(self.path / name, content)
        self._written[name] = new

    def read(self, name: str) -> bytes:
        """The content of the file ``name``.

        Raises:
            OSError: it is missing, or cannot be read.
            RunError: it is not what was written, or the checksums are damaged.
        """
        content = (self.path / name).read_bytes()
        known = self._checksums().get(name)
        if known is not None and hashlib.sha256(content).hexdigest() not in known:
            raise RunError(
                f"{self.path / name} is damaged or has been altered since it was written; restore it, or delete "
                f"{self.path / CHECKSUMS} to take every file of this folder as it is"
            )
        return content

    def remove(self, name: str) -> None:
        """Delete the file ``name``, if it is there.

        Raises:
            RunError: the folder cannot be written to.
        """
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"cannot delete {self.path / name}: {error.strerror or error}") from error
        with self._locked():
            known = self._checksums()
            if known.pop(name, None) is not None:
                self._write_checksums(known)
        self._written.pop(name, None)

    def _checksums(self) -> dict[str, list[str]]:
        path = self.path / CHECKSUMS
        try:
            known = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        if not isinstance(known, dict) or not all(isinstance(sums, list) for sums in known.values()):
            raise RunError(f"{path} is damaged: it is not a list of checksums by file")
        return known

    def _write_checksums(self, known: dict[str, list[str]]) -> None:
        write_atomically(self.path / CHECKSUMS, (json.dumps(known, indent=2) + "\n").encode())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from changing the checksums between our reading and our writing them."""
        with exclusive(self.path / _LOCK, timeout=10.0):
            yield


@contextlib.contextmanager
def exclusive(path: Path, *, timeout: float) -> Iterator[bool]:
    """Hold the lock file ``path`` against other processes; it goes away with the process that holds it.

    Args:
        path: the lock file, which is made and stays.
        timeout: seconds to wait for another process.

    Yields:
        Whether it is held. Some network file systems have no locks: there True is said although nothing is held.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    held = True
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        held = False
    except (NotImplementedError, OSError):
        pass
    try:
        yield held
    finally:
        lock.release()
