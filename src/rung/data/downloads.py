"""Getting the files of a named data set from the network: with progress, resumed where it stopped, checked."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

from rung.data.cache import Cache
from rung.data.labels import few
from rung.data.names import Download, KnownData
from rung.errors import DataError
from rung.progress import Progress

# Seconds to connect, and between two pieces of the answer.
_TIMEOUT = (10, 60)
_PIECE = 2**18


def fetch(name: str, known: KnownData, cache: Cache, progress: Progress) -> Path:
    """The folder in the cache with all files of a named data set; what is missing is downloaded.

    Raises:
        DataError: a file cannot be had. The message says which one to put where.
    """
    for place in cache.places("downloads", name):
        if all((place / download.file).is_file() for download in known.downloads):
            return place
    folder = cache.root / "downloads" / name
    wanted = [download for download in known.downloads if not (folder / download.file).is_file()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with cache.lock(f"download-{name}"):
            for download in wanted:
                if not (folder / download.file).is_file():
                    _fetch_file(download, folder, progress)
    except _NotFetched as error:
        files = few((f"{download.file} from {download.urls[0]}" for download in wanted), 4)
        raise DataError(
            f"{known.title} could not be downloaded ({error}); with a browser, get {files} and put it into {folder} "
            f"(or into the folder {name} below $RUNG_DATA)"
        ) from error
    except OSError as error:
        raise DataError(
            f"{known.title} cannot be kept in {folder}: {error.strerror or error}; set RUNG_CACHE"
        ) from error
    return folder


class _NotFetched(Exception):
    """Why a file did not come."""


def _fetch_file(download: Download, folder: Path, progress: Progress) -> None:
    import pooch  # type: ignore[import-untyped,unused-ignore]

    # pooch tells of every download on standard error, where the progress is shown already.
    pooch.get_logger().setLevel(logging.WARNING)
    part = folder / f"{download.file}.part"
    last: Exception | None = None
    for url in download.urls:
        for attempt in (1, 2):
            resumed = part.exists()
            try:
                pooch.retrieve(
                    url,
                    known_hash=f"{download.algorithm}:{download.digest}",
                    fname=download.file,
                    path=folder,
                    downloader=_Resuming(part, progress),
                )
                return
            except ValueError as error:
                # The checksum is wrong. A part left by an earlier attempt may be to blame: once more without it.
                last = _NotFetched(f"{url} has a wrong checksum")
                last.__cause__ = error
                if not resumed or attempt == 2:
                    break
            except Exception as error:  # Whatever the network's libraries raise, the next address may work.
                last = error
                break
    assert last is not None
    if isinstance(last, OSError) and not _of_network(last):
        raise last
    raise last if isinstance(last, _NotFetched) else _NotFetched(_line(last)) from last


def _of_network(error: OSError) -> bool:
    import requests

    return isinstance(error, (requests.RequestException, ConnectionError, TimeoutError))


def _line(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.url} answered {error.response.status_code}"
    if isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return "the server cannot be reached"
    return " ".join(str(error).split())[:120] or type(error).__name__


class _Resuming:
    """A downloader for pooch that keeps what came in ``part`` and asks for the rest the next time."""

    def __init__(self, part: Path, progress: Progress) -> None:
        self._part = part
        self._progress = progress

    def __call__(self, url: str, output_file: Any, caller: Any) -> None:
        """Write the content of ``url`` to ``output_file`` (a path)."""
        import requests

        have = self._part.stat().st_size if self._part.exists() else 0
        # Unpacked on the way, the bytes would match neither the range nor the checksum.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, stream=True, timeout=_TIMEOUT, headers=headers) as answer:
            if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
                if _total(answer.headers.get("Content-Range", "")) != have:
                    self._part.unlink()
                    self(url, output_file, caller)
                    return
            else:
                answer.raise_for_status()
                self._receive(answer, have)
        self._part.replace(output_file)

    def _receive(self, answer: Any, have: int) -> None:
        """Add the answer to ``part``, or start it again if the server sends the file from its beginning."""
        import requests

        goes_on = answer.status_code == requests.codes.partial_content and answer.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {have}-")
        have = have if goes_on else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdigit() else None
        title = f"Downloading {self._part.name.removesuffix('.part')}"
        with self._part.open("ab" if goes_on else "wb") as stream:
            for piece in answer.iter_content(_PIECE):
                stream.write(piece)
                have += len(piece)
                self._progress(title, have, total)
        if total is not None and have < total:
            raise requests.ConnectionError("the connection was lost")


def _total(content_range: str) -> int | None:
    with contextlib.suppress(ValueError):
        return int(content_range.rpartition("/")[2])
    return None
