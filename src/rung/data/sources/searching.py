"""Looking for the files of a format without walking through a million photos."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# A folder whose first files are all of another kind is left: it will be one of images.
_STRANGERS = 100
_FOLDERS = 1000


def find_files(folder: Path, matches: Callable[[str], bool], depth: int) -> list[Path]:
    """The files whose names match, in ``folder`` and up to ``depth`` levels below it, sorted.

    Hidden files and folders are passed over. Links to folders are not followed.
    """
    found: list[Path] = []
    level = [folder]
    for _ in range(depth + 1):
        below: list[Path] = []
        for place in level[:_FOLDERS]:
            strangers, found_here = 0, False
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        below.append(Path(entry.path))
                    elif matches(entry.name) and entry.is_file():
                        found.append(Path(entry.path))
                        found_here = True
                    elif strangers < _STRANGERS or found_here:
                        strangers += 1
                    else:
                        break
        level = sorted(below)
    return sorted(found)
