"""The folder where decoded images and downloads are kept between starts.

Layout: ``images/KEY/`` decoded data sets, ``features/KEY/`` what pretrained networks see in them,
``downloads/NAME/`` files from the network, ``inspections/`` and ``hashes/`` small JSON files that spare work.
Everything in it can be deleted at any time. An entry is made in a folder of its own and renamed when it is
complete, so what has its final name is whole.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from rung.errors import DataError

T = TypeVar("T")

HASHED = 4 * 2**30
"""Up to so many bytes are read to know a content; above, size and modification time stand for it."""

# What reading a damaged entry may raise.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError)

# A file that was changed so recently may change again within the same tick of its file system's clock.
_SETTLED_NS = 2 * 10**9


class Cache:
    """The cache folder: ``folder``, else ``$RUNG_CACHE``, else the platform's place for caches.

    A folder that cannot be written to is still read; what is new then goes to a temporary folder that is there until
    the process ends, and ``note`` says so.

    Attributes:
        root: the folder that is written to, which exists.
        note: None, or the sentence to show the user once something had to be put into the temporary folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        wanted = _wanted(folder)
        self.note: str | None = None
        self._unkept: str | None = None
        self._read_only: Path | None = None
        if wanted is not None and _writable(wanted):
            self.root = wanted
        else:
            self._read_only = wanted
            self.root = _temporary()
            self._unkept = (
                f"The cache {wanted or 'folder of this user'} cannot be written to, so the decoded images are in a "
                "temporary folder and will be made again at the next start; set RUNG_CACHE to a folder to keep them."
            )

    @property
    def is_temporary(self) -> bool:
        """Whether what is put into it goes away with this process."""
        return self._unkept is not None

    def places(self, *parts: str) -> list[Path]:
        """Where an entry may be: below the folder that cannot be written to, if that is so, and below ``root``."""
        roots = [self.root] if self._read_only is None else [self._read_only, self.root]
        return [root.joinpath(*parts) for root in roots]

    # --- small facts -------------------------------------------------------------------------------

    def remembered(self, kind: str, key: str) -> Any:
        """The JSON value stored under ``key``, or None."""
        for path in self.places(kind, f"{key}.json"):
            with contextlib.suppress(OSError, ValueError):
                return json.loads(path.read_text(encoding="utf-8"))
        return None

    def remember(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value. Failing to is no error: it is found out again next time."""
        with contextlib.suppress(OSError):
            folder = self.root / kind
            folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=".")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    json.dump(value, stream)
                Path(temporary).replace(folder / f"{key}.json")
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def content_hash(self, files: Iterable[tuple[str, Path]]) -> str:
        """SHA-256 over (role, content) of the files, in the order given.

        The hash of a file is remembered with its size, inode and times, so unchanged files are read once.
        Beyond 4 GB in total, size and modification time stand for the contents.

        Raises:
            DataError: a file cannot be read.
        """
        listed = list(files)
        total = hashlib.sha256()
        try:
            stats = [path.stat() for _, path in listed]
            by_content = sum(stat.st_size for stat in stats) <= HASHED
            for (role, path), stat in zip(listed, stats, strict=True):
                identity = self._file_hash(path, stat) if by_content else f"{stat.st_size} {stat.st_mtime_ns}"
                total.update(f"{len(role)} {role} {identity}\n".encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {error.strerror or error}") from error
        return total.hexdigest()

    def _file_hash(self, path: Path, stat: os.stat_result) -> str:
        key = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self.remembered("hashes", key)
        if isinstance(known, dict) and known.get("state") == state and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS:
            self.remember("hashes", key, {"state": state, "sha256": digest})
        return digest

    # --- entries -----------------------------------------------------------------------------------

    def entry(self, kind: str, key: str, read: Callable[[Path], T], make: Callable[[Path], None]) -> T:
        """What ``read`` returns of the entry ``kind/key``, which ``make`` fills first if need be.

        ``read`` raises an OSError, ValueError, KeyError, TypeError or EOFError for an entry that is damaged or
        missing: it is then made again. Of two processes that
        want the same entry one makes it while the other one waits.

        Raises:
            DataError: the disk is full, or ``make`` raised it.
        """
        for place in self.places(kind, key):
            with contextlib.suppress(*_DAMAGED):
                return read(place)
        final = self.root / kind / key
        self.note = self._unkept
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with self.lock(f"{kind}-{key}"):
                with contextlib.suppress(*_DAMAGED):
                    return read(final)
                for left_behind in final.parent.glob(f".{key}-*"):
                    shutil.rmtree(left_behind, ignore_errors=True)
                building = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=final.parent))
                try:
                    make(building)
                    if final.exists():
                        shutil.rmtree(final)
                    building.rename(final)
                except BaseException as error:
                    shutil.rmtree(building, ignore_errors=True)
                    # Where locks do not work, another process may have been faster.
                    if isinstance(error, OSError):
                        with contextlib.suppress(*_DAMAGED):
                            return read(final)
                    raise
            return read(final)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "its disk is full" if full else error.strerror or str(error)
            raise DataError(
                f"the decoded images cannot be kept in {self.root}: {reason}; set RUNG_CACHE to a folder with room"
            ) from error

    def trim(self, kind: str, most: int) -> None:
        """Take the oldest entries of a kind out until the others together have at most so many bytes.

        Raises:
            OSError: the entries cannot be looked at.
        """
        entries = [(path.stat().st_mtime, path) for path in (self.root / kind).iterdir() if path.is_dir()]
        for _, path in sorted(entries, reverse=True):
            most -= sum(file.stat().st_size for file in path.iterdir())
            if most < 0:
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold ``name`` against other processes; a lock goes away with the process that held it."""
        from filelock import FileLock, Timeout

        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f"{name}.lock")
        # Some network file systems have no locks. Entries are renamed into place anyway, so the
        # worst that happens without one is that two processes do the same work.
        with contextlib.suppress(Timeout, NotImplementedError, OSError):
            held.acquire()
        try:
            yield
        finally:
            held.release()

    def require(self, size: int) -> None:
        """Check that ``size`` bytes fit on the disk of the cache.

        Raises:
            DataError: they do not.
        """
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(self.root).free
            if size > free:
                raise DataError(
                    f"the decoded images need {size / 2**30:.1f} GB in {self.root}, which has {free / 2**30:.1f} GB "
                    "free; set RUNG_CACHE to a folder with more room, or choose a smaller image size"
                )


def _wanted(folder: str | os.PathLike[str] | None) -> Path | None:
    if folder is not None:
        return Path(folder).expanduser()
    if os.environ.get("RUNG_CACHE"):
        return Path(os.environ["RUNG_CACHE"]).expanduser()
    from platformdirs import user_cache_path

    with contextlib.suppress(RuntimeError, OSError):
        path = user_cache_path("rung", appauthor=False)
        # Without a home folder the "~" stays in the path.
        return path if path.is_absolute() else None
    return None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Trying is the only test that is right for every file system and user.
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@functools.cache
def _temporary() -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="rung-"))
    except OSError as error:
        raise DataError(
            "neither the cache nor a temporary folder can be written to; set RUNG_CACHE to a folder with room"
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
