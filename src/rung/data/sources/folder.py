"""A folder of class folders with images: flat, or below ``train``, ``val`` and ``test``.

Names are the classes, in any script. Images may lie deeper inside a class folder. Hidden files and folders, links
that lead back to where they are, devices and pipes are passed over.
"""

from __future__ import annotations

import hashlib
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rung.data.cache import Cache
from rung.data.labels import Indexed, class_order, few, index_labels
from rung.data.preprocessing import Unusable, read_header
from rung.data.source import HEADERS, SPLITS, Batch, Inspection, Reader, summarise
from rung.errors import DataError
from rung.progress import Progress

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k"}
)
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_FILES = 512


def recognise(path: Path) -> Reader | None:
    """A reader if ``path`` is a folder; whether it has images is found out later."""
    return Folder(path) if path.is_dir() else None


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    changed: int


@dataclass
class _Class:
    """The images of one class in one split, and how many other files lie among them, by suffix."""

    files: list[_File] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


class Folder(Reader):
    """Class folders below one root."""

    has_files = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def content_key(self, cache: Cache) -> str:
        whole = hashlib.sha256()
        for split, classes in self._scanned.items():
            for name in class_order(classes):
                whole.update(f"{split}\0{name}\0".encode("utf-8", "surrogateescape"))
                for file in classes[name].files:
                    line = f"{self._relative(file.path)}\0{file.size}\0{file.changed}\n"
                    whole.update(line.encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def inspect(self, progress: Progress) -> Inspection:
        indexed = self._indexed
        files = [file for split in indexed.labels for file in self._files(split)]
        if len(files) > HEADERS:
            files = random.Random(0).sample(files, HEADERS)
        sizes: list[tuple[int, int]] = []
        grey = True
        for number, file in enumerate(files):
            try:
                header = read_header(Path(file.path))
            except Unusable:
                continue
            finally:
                if number % 64 == 63 or number + 1 == len(files):
                    progress("Looking at the images", number + 1, len(files))
            sizes.append((header.height, header.width))
            grey = grey and header.grey
        if not sizes:
            first = self._shown(files[0].path)
            raise DataError(f"no image in {self._path} can be read (the first is {first}); are these really images?")
        summary = summarise(indexed.labels, indexed.classes, sizes, 1 if grey else 3)
        return Inspection(indexed.classes, summary, (*self._notes, *indexed.notes))

    def batches(self) -> Iterator[Batch]:
        for split, labels in self._indexed.labels.items():
            files = list(self._files(split))
            for start in range(0, len(files), _FILES):
                some = files[start : start + _FILES]
                yield Batch(
                    split,
                    [Path(file.path) for file in some],
                    labels[start : start + len(some)],
                    [self._shown(file.path) for file in some],
                )

    # --- what is in the folder -----------------------------------------------------------------------

    @cached_property
    def _scanned(self) -> dict[str, dict[str, _Class]]:
        """split → class name → its files."""
        root = self._root
        folders = _folders(root)
        by_split: dict[str, list[str]] = {}
        for path in folders:
            by_split.setdefault(_SPLITS.get(Path(path).name.lower(), ""), []).append(path)
        if "train" not in by_split:
            if folders and set(by_split) <= {"val", "test"}:
                raise DataError(f"{self._path} has no folder train beside {few(Path(path).name for path in folders)}")
            return {"train": _classes(folders, root)}
        found = {}
        for split in SPLITS:
            merged: dict[str, _Class] = {}
            for path in by_split.get(split, []):
                for name, content in _classes(_folders(Path(path)), root).items():
                    held = merged.setdefault(name, _Class())
                    held.files += content.files
                    held.others += content.others
            if any(content.files for content in merged.values()):
                found[split] = merged
        return found

    @cached_property
    def _root(self) -> Path:
        """The given folder, or the only folder in it if that is where the class folders are."""
        root = self._path
        for _ in range(3):
            folders = _folders(root)
            deeper = len(folders) == 1 and len(_folders(Path(folders[0]))) > 1
            named = len(folders) == 1 and Path(folders[0]).name.lower() in _SPLITS
            if not deeper or named or any(is_image(entry) for entry in _entries(Path(folders[0]))):
                break
            root = Path(folders[0])
        return root

    @cached_property
    def _indexed(self) -> Indexed:
        scanned = self._scanned
        if not any(content.files for content in scanned.get("train", {}).values()):
            raise DataError(f"{self._path} {self._lacking()}")
        raw = {}
        for split, classes in scanned.items():
            counts = [(name, len(classes[name].files)) for name in class_order(classes)]
            filled = np.empty(sum(count for _, count in counts), object)
            start = 0
            for name, count in counts:
                filled[start : start + count] = name
                start += count
            raw[split] = filled
        if "test" in scanned:
            absent = class_order(set(_with_files(scanned["train"])) - set(_with_files(scanned["test"])))
            if absent:
                raise DataError(
                    f"{self._path} has {few(absent)} in train but not in test; add test images of each class, or take "
                    "these classes out"
                )
        return index_labels(raw, str(self._path))

    def _lacking(self) -> str:
        """Why there is nothing to learn from, as the second half of a sentence."""
        if any(is_image(entry) for entry in _entries(self._root)):
            return "has images but no class folders; put the images of each class into a folder with its name"
        others: Counter[str] = Counter()
        for content in self._scanned.get("train", {}).values():
            others += content.others
        if others:
            return f"has no images that can be read, only other files ({few(others)})"
        return "has no images; put one folder a class with its images into it"

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        notes = []
        others: Counter[str] = Counter()
        for split, classes in self._scanned.items():
            empty = class_order(name for name, content in classes.items() if not content.files)
            if empty:
                notes.append(f"Empty class folders in {split} were left out: {few(empty)}.")
            for content in classes.values():
                others += content.others
        if others:
            kinds = few(f"{count:,} × {suffix}" for suffix, count in others.most_common())
            notes.append(f"Files that are not images in a format read here were left out: {kinds}.")
        if "train" in {_SPLITS.get(Path(path).name.lower()) for path in _folders(self._root)}:
            unused = [
                Path(path).name
                for path in _folders(self._root)
                if _SPLITS.get(Path(path).name.lower()) not in self._scanned
            ]
            if unused:
                notes.append(f"Folders without class folders of a split were left out: {few(map(_text, unused))}.")
        loose = sum(is_image(entry) for entry in _entries(self._root))
        if loose:
            notes.append(f"Images outside the class folders were left out: {loose:,}.")
        return tuple(notes)

    def _files(self, split: str) -> Iterator[_File]:
        classes = self._scanned[split]
        for name in class_order(classes):
            yield from classes[name].files

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._path).replace(os.sep, "/")

    def _shown(self, path: str) -> str:
        """The path below the folder; bytes that are no text are escaped."""
        return _text(self._relative(path))


def _with_files(classes: dict[str, _Class]) -> list[str]:
    return [name for name, content in classes.items() if content.files]


def _classes(folders: list[str], root: Path) -> dict[str, _Class]:
    """The class folders among ``folders``, by their names in one Unicode form."""
    classes: dict[str, _Class] = {}
    for path in folders:
        folder = Path(path)
        # A link to the root or above it would make a class of everything.
        if folder.is_symlink() and root.resolve().is_relative_to(folder.resolve()):
            continue
        name = unicodedata.normalize("NFC", _text(folder.name))
        _collect(folder, classes.setdefault(name, _Class()))
    return classes


def _collect(top: Path, into: _Class) -> None:
    """Add the images in a class folder and below it. Links to files are followed, links to further folders are not."""
    waiting = [top]
    while waiting:
        deeper = []
        for entry in _entries(waiting.pop()):
            if _is_folder(entry):
                if not entry.is_symlink():
                    deeper.append(Path(entry.path))
            elif is_image(entry):
                stat = entry.stat()
                into.files.append(_File(entry.path, stat.st_size, stat.st_mtime_ns))
            else:
                into.others[_kind(entry)] += 1
        waiting += reversed(deeper)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, by name."""
    with os.scandir(folder) as inside:
        seen = [entry for entry in inside if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    return sorted(seen, key=lambda entry: entry.name)


def _folders(folder: Path) -> list[str]:
    return [entry.path for entry in _entries(folder) if _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself.
        return False


def _kind(entry: os.DirEntry[str]) -> str:
    """What to call a file that is no image."""
    if entry.is_symlink() and not Path(entry.path).exists():
        return "broken link"
    return (Path(entry.name).suffix.lower() or "no suffix") if Path(entry.path).is_file() else "pipe or device"


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file's name (or, without a suffix, its beginning) is that of an image."""
    try:
        if not entry.is_file():
            return False
        suffix = Path(entry.name).suffix.lower()
        if suffix:
            return suffix in SUFFIXES
        with Path(entry.path).open("rb") as stream:
            return stream.read(4).startswith(_BEGINNINGS)
    except OSError:
        return False


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
