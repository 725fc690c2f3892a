"""Lists of images as CSV: what a diagnosis suspects, and what a training is to leave out.

The first line names the columns. ``image`` must be among them: the file, as in ``Split.files``, or the row of an image
that is not a file of its own. Of the others ``label`` and ``split`` are read, the rest is for people. A file without
that line has an image in the first column of every line.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rung.data.dataset import Split
from rung.errors import DataError

LARGEST = 256 * 2**20
"""Bytes of a list, at most: far more than every image of a large data set needs."""

# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Listed:
    """An image of a list.

    Attributes:
        image: its file, or its row among the decoded images.
        label: the name of its class according to the list, or None.
        split: ``"train"``, ``"val"`` or ``"test"`` according to the list, or None.
    """

    image: str | int
    label: str | None = None
    split: str | None = None


def identify(split: Split, position: int) -> str:
    """What a list calls the image at ``position`` of a split: its file, or its row where it is not a file."""
    file = split.file(position)
    return str(int(split.rows[position])) if file is None else file


def list_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The text of a list. A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([escape(str(cell)) for cell in row] for row in rows)
    return text.getvalue()


def escape(cell: str) -> str:
    """``cell``, harmless to a spreadsheet; :func:`unescape` is the inverse."""
    return "'" + cell if cell.lstrip("'").startswith(_FORMULA) else cell


def unescape(cell: str) -> str:
    """The inverse of :func:`escape`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def read_list(path: str | os.PathLike[str]) -> tuple[Listed, ...]:
    """The images of a list, in its order.

    Raises:
        DataError: the file is missing, is not CSV, names no images, or says of an image what it cannot be.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} has more than {LARGEST // 2**20} MB; it cannot be a list of images")
        # Excel writes a byte order mark.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        if "\0" in text:  # UTF-16, or no text at all; only some versions of the csv module mind.
            raise csv.Error("it is not UTF-8")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
    except FileNotFoundError as error:
        raise DataError(f"there is no list {path}; give a CSV file with a column named image") from error
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as CSV: {reason}; give one with a column named image") from error
    named = bool(rows) and "image" in rows[0]
    columns = {name: place for place, name in reversed(list(enumerate(rows[0])))} if named else {"image": 0}
    found = tuple(_listed(row, columns) for row in rows[named:])
    if not all(item.image for item in found):
        raise DataError(f"{path} has a line without an image; its column named image must have a file or row in each")
    if not found and not named:
        raise DataError(f"{path} is empty; give a CSV file with a column named image")
    return found


def _listed(row: Sequence[str], columns: Mapping[str, int]) -> Listed:
    def cell(name: str) -> str | None:
        place = columns.get(name, len(row))
        return (unescape(row[place]) or None) if place < len(row) else None

    return Listed(cell("image") or "", cell("label"), cell("split"))
