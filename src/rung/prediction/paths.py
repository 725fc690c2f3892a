"""Which image files are meant: files, folders and patterns, found while they are worked on."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rung.data.sources.folder import SUFFIXES, is_image
from rung.errors import DataError

SORTED = 10_000
"""A folder with more entries is read in the order of the file system: to sort them, all would have to be held."""

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Refused:
    """A path from which nothing can be read, and why."""

    path: str
    reason: str


def check_paths(paths: Paths) -> None:
    """Look at paths before the work begins, which may be long.

    Raises:
        DataError: one is a URL, or a pattern that fits nothing.
    """
    for path in _each(paths):
        first = None if os.path.lexists(path) else next(_meant(path), None)
        # A folder that a pattern fits is another matter.
        if isinstance(first, Refused) and first.path == path:
            raise DataError(f"{path}: {first.reason}")


def image_files(paths: Paths) -> Iterator[str | Refused]:
    """The files that ``paths`` mean, in their order.

    A folder means all images in it and below it, told by the ending of their names, in the order of their names;
    hidden files are passed over, and links to folders are not followed. A path that does not exist and has ``*``,
    ``?`` or ``[`` in it is a pattern (``**`` for any depth). Any other path is given on as it is, for whoever reads it
    to say what is wrong with it. URLs, patterns that fit nothing, and folders that cannot be read come as
    :class:`Refused`: one of them late among a million paths is no reason to lose the rest.

    Args:
        paths: one or many. They are read one at a time, so any number may come.
    """
    for path in _each(paths):
        yield from _meant(path)


def _each(paths: Paths) -> Iterator[str]:
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        yield os.fspath(path)


def _meant(path: str) -> Iterator[str | Refused]:
    # One letter before the colon is a drive of Windows.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        yield Refused(path, "this is a URL, and only files are read; download it first, with curl -O for example")
    elif os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises where a folder above may not be entered)
        yield from _in_folder(path)
    elif glob.has_magic(path) and not os.path.lexists(path):
        yield from _matching(path)
    else:
        yield path


def _matching(pattern: str) -> Iterator[str | Refused]:
    # With `**`, the pattern itself goes into the folders, and names them, and files that are no images, as well.
    deep = "**" in pattern
    found = False
    for match in glob.iglob(pattern, recursive=True):  # noqa: PTH207 (Path.glob takes no absolute patterns)
        if not os.path.isdir(match):  # noqa: PTH112 (as above)
            if not deep or Path(match).suffix.lower() in SUFFIXES:
                found = True
                yield match
        elif not deep:
            found = True
            yield from _in_folder(match)
    if not found:
        yield Refused(pattern, "no file fits this pattern")


def _in_folder(folder: str) -> Iterator[str | Refused]:
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
            reason = str(error.strerror or error)
            yield Refused(str(error.filename or place), f"this folder cannot be read: {reason[:1].lower()}{reason[1:]}")
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
