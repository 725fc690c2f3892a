"""From what a user types to a data set: a name, a file or a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from rung.data.cache import Cache
from rung.data.downloads import fetch
from rung.data.names import KNOWN, canonical
from rung.data.source import Inspection, Reader, Source
from rung.data.sources import FORMATS
from rung.data.sources.digits import Digits
from rung.data.splits import check_classes
from rung.errors import DataError
from rung.progress import Progress, silent

# Part of every key: what was kept under an older way of looking at data is not used.
_VERSION = 1


def find_source(
    data: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    training: bool = True,
) -> Source:
    """Find a data set and look at it, without decoding its images.

    A name is looked for in ``$RUNG_DATA/NAME/`` (any format that a path may have), then in the cache, then
    downloaded with its checksum checked. A folder that has the same name as a data set is meant by ``./digits``.

    Args:
        data: ``"digits"``, ``"cifar10"``, ``"cifar100"``, ``"mnist"``, ``"fashion-mnist"``, or a path: a folder of
            class folders (with or without ``train``, ``val``, ``test``), Parquet in the Hugging Face image
            layout, an official CIFAR archive or its extracted folder, IDX files, or an ``.npz``.
        cache_dir: where to keep downloads and decoded images; by default ``$RUNG_CACHE``, else the
            platform's cache folder for this user.
        progress: told how far a download or a long look is.
        training: whether a classifier shall be trained on it, for which each class must have enough images.

    Raises:
        DataError: there is no such data, it is in no known format, or no classifier can be trained on it.
    """
    cache, progress = Cache(cache_dir), progress or silent
    name, origin, reader = _locate(data, cache, progress)
    try:
        content = reader.content_key(cache)
        key = hashlib.sha256(f"{_VERSION} {type(reader).__name__} {content}".encode()).hexdigest()
        inspection = _known(cache, key)
        if inspection is None:
            inspection = reader.inspect(progress)
            cache.remember("inspections", key, inspection.to_dict())
    except OSError as error:
        raise DataError(f"cannot read {error.filename or origin}: {error.strerror or error}") from error
    inspection = _named(inspection, name)
    summary = inspection.summary
    if training:
        cuts = ("test" not in summary.images) + ("val" not in summary.images)
        check_classes(summary.class_counts, inspection.classes, origin, cuts)
    return Source(name, origin, key, inspection.classes, summary, inspection.notes, reader)


def open_path(path: Path) -> Reader:
    """The reader of the data at ``path``.

    Raises:
        DataError: nothing is there, or nothing that a format recognises.
    """
    try:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        for recognise in FORMATS:
            reader = recognise(path)
            if reader is not None:
                return reader
    except PermissionError as error:
        raise DataError(
            f"{_closed(path, error)} may not be read; give yourself the right to, or move it away"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {error.filename or path}: {error.strerror or error}") from error
    hint = "unpack it and give the folder" if path.is_file() else "put one folder a class into it"
    raise DataError(
        f"{path} holds no data that rung can read (class folders with images, Parquet, CIFAR, IDX or npz); {hint}"
    )


def _closed(path: Path, error: PermissionError) -> Path:
    """The folder or file below ``path`` that is closed: it may have been met by looking for a file in it."""
    met = Path(error.filename or path)
    return next((folder for folder in reversed(met.parents) if folder.is_relative_to(path) and not _open(folder)), met)


def _open(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _locate(data: str | os.PathLike[str], cache: Cache, progress: Progress) -> tuple[str, str, Reader]:
    """Name, origin and reader of ``data``."""
    text = os.fspath(data)
    if not text:
        raise DataError(f"no data was given; use a path or one of {', '.join(KNOWN)}")
    known = KNOWN.get(text) if isinstance(data, str) else None
    if known is None:
        try:
            path = Path(text).expanduser()
            there = path.exists()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{text[:200]} cannot be looked for: {reason}; check the path and your rights") from error
        if not there:
            raise DataError(f"there is no file or folder {text}, and no data set of that name{_meant(text)}")
        return _short(path), str(path), open_path(path)
    root = os.environ.get("RUNG_DATA")
    if root and (Path(root) / text).exists():
        folder = Path(root) / text
        return text, str(folder), open_path(folder)
    if not known.downloads:
        return text, known.title, Digits()
    folder = fetch(text, known, cache, progress)
    return text, str(folder), open_path(folder)


def _meant(text: str) -> str:
    import difflib

    close = difflib.get_close_matches(text.lower(), KNOWN, 1)
    return f"; did you mean {close[0]}?" if close else f"; the names are {', '.join(KNOWN)}"


def _short(path: Path) -> str:
    name = path.resolve().name or "data"
    for suffix in (".tar.gz", ".tgz", ".tar", ".gz", ".parquet", ".pq", ".npz"):
        if path.is_file() and name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _known(cache: Cache, key: str) -> Inspection | None:
    try:
        return Inspection.from_dict(cache.remembered("inspections", key))
    except (KeyError, TypeError, ValueError):
        return None


def _named(inspection: Inspection, name: str) -> Inspection:
    """Give the classes of a known data set their names where its files had numbers only."""
    known = canonical(name)
    names = KNOWN[known].classes if known else ()
    if names and inspection.classes == tuple(str(i) for i in range(len(names))):
        return dataclasses.replace(inspection, classes=names)
    return inspection
