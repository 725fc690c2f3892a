"""Which image files are meant: files, folders and patterns, found while they are worked on."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rung.data.sources.folder import SUFFIXES, is_image
from rung.errors import DataError

SORTED = 10_000
"""A folder with more entries is read in the order of the file system: to sort them, all would have to be held."""

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def image_files(paths: Paths) -> Iterator[str]:
    """The files that ``paths`` mean, in their order.

    A folder means all images in it and below it, told by the ending of their names, in the order of their names;
    hidden files are passed over, and links to folders are not followed. A path that does not exist and has ``*``,
    ``?`` or ``[`` in it is a pattern (``**`` for any depth). Any other path is given on as it is, for whoever reads it
    to say what is wrong with it.

    Args:
        paths: one or many. They are read one at a time, so any number may come.

    Raises:
        DataError: a path is a URL, or a pattern that fits nothing.
    """
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        text = os.fspath(path)
        # One letter before the colon is a drive of Windows.
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
            raise DataError(f"{text} is a URL, and only files are read; download it first, with curl -O for example")
        if Path(text).is_dir():
            yield from _in_folder(text)
        elif glob.has_magic(text) and not os.path.lexists(text):
            yield from _matching(text)
        else:
            yield text


def _matching(pattern: str) -> Iterator[str]:
    # With `**`, the pattern itself goes into the folders, and names them, and files that are no images, as well.
    deep = "**" in pattern
    found = False
    for match in glob.iglob(pattern, recursive=True):  # noqa: PTH207 (Path.glob takes no absolute patterns)
        if not Path(match).is_dir():
            if not deep or Path(match).suffix.lower() in SUFFIXES:
                found = True
                yield match
        elif not deep:
            found = True
            yield from _in_folder(match)
    if not found:
        raise DataError(f"no file fits {pattern}")


def _in_folder(folder: str) -> Iterator[str]:
    # Depth first, with the folders that are left on a stack: those of one level, not the files.
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        below: list[str] = []
        try:
            for entry in _entries(place):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif is_image(entry):
                    yield entry.path
        except OSError as error:
            raise DataError(f"cannot read {error.filename or place}: {error.strerror or error}") from error
        waiting += sorted(below, reverse=True)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    first: list[os.DirEntry[str]] = []
    with os.scandir(folder) as inside:
        for entry in inside:
            first.append(entry)
            if len(first) > SORTED:
                break
        if len(first) <= SORTED:
            first.sort(key=lambda entry: entry.name)
        yield from first
        yield from inside
