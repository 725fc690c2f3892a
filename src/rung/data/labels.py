"""From the labels in a file to positions in a list of class names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Labels
from rung.errors import DataError


@dataclass(frozen=True, eq=False)
class Indexed:
    """Labels as positions in ``classes``, and what was noticed on the way."""

    classes: tuple[str, ...]
    labels: dict[str, Labels]
    notes: tuple[str, ...]


def few(items: Iterable[object], most: int = 5) -> str:
    """The first ``most`` items for a sentence: ``a, b, c and 7 more``."""
    listed = [str(item) for item in items]
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most:,} more"


def class_order(names: Iterable[str]) -> list[str]:
    """Alphabetical, but numbers by their value: 2 before 10."""
    distinct = set(names)
    if all(name.isascii() and name.isdigit() for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return sorted(distinct)


def index_labels(raw: Mapping[str, npt.NDArray[Any]], where: str, names: Sequence[str] | None = None) -> Indexed:
    """Give every class that has training images a position.

    Args:
        raw: split name → labels of any kind, shape (n,): whole numbers, booleans, text or bytes.
        where: the file or folder, for messages.
        names: class names by number, if the data has them. Names without images are left out.

    Raises:
        DataError: labels are missing, negative, not whole, of mixed kinds or without a name; or a split has a
            class without training images.
    """
    names = None if names is None else [_encodable(name) for name in names]
    notes: list[str] = []
    plain: dict[str, npt.NDArray[Any]] = {}
    for split, values in raw.items():
        clean = _plain(values, f"{where} ({split})")
        if split != "train" and len(clean) and clean.dtype.kind == "i" and (clean == -1).all():
            notes.append(f"The {split} split has no labels (all are -1) and was left out.")
        elif len(clean):
            plain[split] = clean
    if "train" not in plain:
        raise DataError(f"{where} has no training images")
    if len({values.dtype.kind for values in plain.values()}) > 1:
        raise DataError(f"{where} has numbers as labels in one split and text in another; use one kind in all")
    for split, values in plain.items():
        if values.dtype.kind == "i" and (values < 0).any():
            raise DataError(f"{where} has the label {values.min()} in the {split} split; labels must not be negative")
        if values.dtype.kind == "i" and names is not None and values.max() >= len(names):
            raise DataError(
                f"{where} has the label {values.max()} in the {split} split, but names for {len(names)} classes only"
            )

    present = np.unique(plain["train"])
    if present.dtype.kind == "i":
        ordered = present
        classes = [names[value] if names is not None else str(value) for value in present.tolist()]
    else:
        classes = class_order(present.tolist())
        ordered = np.array(classes, object)
    if names is not None and len(classes) < len(names):
        missing = sorted(set(names) - set(classes))
        notes.append(f"Classes without training images were left out: {few(missing)}.")
    position = {value: index for index, value in enumerate(ordered.tolist())}
    labels: dict[str, Labels] = {}
    for split, values in plain.items():
        distinct, inverse = np.unique(values, return_inverse=True)
        unknown = [value for value in distinct.tolist() if value not in position]
        if unknown:
            called = [names[value] if names is not None else value for value in unknown]
            raise DataError(
                f"{where} has classes in its {split} split that have no training images ({few(called)}); "
                "add training images of them, or take them out"
            )
        mapping = np.array([position[value] for value in distinct.tolist()], np.int64)
        labels[split] = mapping[inverse]
        if split != "train" and len(distinct) < len(classes):
            absent = [classes[i] for i in np.setdiff1d(np.arange(len(classes)), mapping).tolist()]
            notes.append(f"The {split} split has no images of {few(absent)}.")
    return Indexed(tuple(classes), labels, tuple(notes))


def _plain(values: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """``values`` as int64, or as an object array of str."""
    kind = values.dtype.kind
    if kind in "iub":
        if kind == "u" and len(values) and values.max() > np.iinfo(np.int64).max:
            raise DataError(f"{where} has labels beyond 64-bit whole numbers; number the classes from 0")
        return values.astype(np.int64)
    if kind == "f":
        if not np.isfinite(values).all():
            raise DataError(f"{where} has labels that are not numbers (NaN or infinite); take those images out")
        if (values != np.round(values)).any() or (np.abs(values) > 2**53).any():
            raise DataError(f"{where} has labels that are not whole numbers; rung learns classes, not quantities")
        return values.astype(np.int64)
    if kind in "OUS":
        text = [_text(value, where) for value in values.tolist()]
        filled = np.empty(len(text), object)
        filled[:] = text
        return filled
    raise DataError(f"{where} has labels of the type {values.dtype}; use whole numbers or text")


def _encodable(text: str) -> str:
    """``text`` with half characters (lone surrogates), which no file can hold, as ``\\uNNNN``."""
    return text.encode("utf-8", "backslashreplace").decode()


def _text(value: object, where: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return _encodable(unicodedata.normalize("NFC", value))
    found = "images without a label" if value is None else f"the label {value!r}"
    raise DataError(f"{where} has {found}; use text or whole numbers")
