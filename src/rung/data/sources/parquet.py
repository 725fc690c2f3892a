"""Parquet in the Hugging Face image layout: a column of encoded images and one of labels.

The image column holds structs of ``bytes`` and ``path`` (or plain binary), the label column whole numbers or
text. The names of the classes come from the ``huggingface`` metadata of the schema where it has them.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rung.data.cache import Cache
from rung.data.labels import Indexed, few, index_labels
from rung.data.preprocessing import Unusable, read_header
from rung.data.source import HEADERS, SPLITS, Batch, Inspection, Reader, check_number, summarise
from rung.data.sources.searching import find_files
from rung.errors import DataError
from rung.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

_SUFFIXES = (".parquet", ".pq")
_IMAGES = ("image", "img", "images", "picture", "photo", "pixel_values", "jpg", "png")
_LABELS = ("label", "labels", "fine_label", "class", "target", "category", "cls", "y")
_SPLIT = re.compile(r"(train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev)(?:[^a-z]|$)", re.IGNORECASE)
_ROWS = 512
_BATCH_BYTES = 2**26


def recognise(path: Path) -> Reader | None:
    """A reader if ``path`` is a Parquet file, or a folder with some in it or in its sub-folders."""
    if path.is_file():
        return Parquet(path, {"train": [path]}) if path.suffix.lower() in _SUFFIXES else None
    files = find_files(path, lambda name: name.lower().endswith(_SUFFIXES), depth=2)
    if not files:
        return None
    shards: dict[str, list[Path]] = {}
    strangers: list[Path] = []
    for file in files:
        split = _split_of(file.relative_to(path))
        if split is None:
            strangers.append(file)
        else:
            shards.setdefault(split, []).append(file)
    if not shards:
        return Parquet(path, {"train": files})
    notes = []
    if strangers:
        names = few(file.relative_to(path).as_posix() for file in strangers)
        notes.append(f"Parquet files whose names start with no split were left out: {names}.")
    return Parquet(path, {split: shards[split] for split in SPLITS if split in shards}, tuple(notes))


def _split_of(file: Path) -> str | None:
    """The split that a shard belongs to by its name (``train-00000-of-00002``) or its folder's."""
    for part in (file.stem, *reversed(file.parent.parts)):
        match = _SPLIT.match(part)
        if match:
            word = match.group(1).lower()
            return "train" if word.startswith("train") else "test" if word.startswith("test") else "val"
    return None


@dataclass(frozen=True)
class _Columns:
    image: str
    struct: bool
    label: str
    names: tuple[str, ...] | None


class Parquet(Reader):
    """Shards of one table, by split."""

    def __init__(self, path: Path, shards: dict[str, list[Path]], notes: tuple[str, ...] = ()) -> None:
        self._path = path
        self._shards = shards
        self._notes = notes

    def content_key(self, cache: Cache) -> str:
        return cache.content_hash((split, file) for split, files in self._shards.items() for file in files)

    def inspect(self, progress: Progress) -> Inspection:
        with _damage_is_told(self._path):
            return self._inspected(progress)

    def batches(self) -> Iterator[Batch]:
        with _damage_is_told(self._path):
            yield from self._batches()

    def _inspected(self, progress: Progress) -> Inspection:
        indexed = self._indexed
        sizes: list[tuple[int, int]] = []
        grey = True
        for content in self._sample(progress):
            try:
                header = read_header(content)
            except Unusable:
                continue
            sizes.append((header.height, header.width))
            grey = grey and header.grey
        if not sizes:
            raise DataError(f"{self._path} has no readable image in its column {self._columns.image!r}")
        summary = summarise(indexed.labels, indexed.classes, sizes, 1 if grey else 3)
        return Inspection(indexed.classes, summary, (*self._notes, *indexed.notes))

    def _batches(self) -> Iterator[Batch]:
        column = self._columns
        for split, labels in self._indexed.labels.items():
            done = 0
            for file in self._shards[split]:
                start = 0
                for table in _read(file, [column.image]):
                    encoded = _encoded(table, column)
                    rows = range(start, start + len(encoded))
                    yield Batch(
                        split,
                        encoded,
                        labels[done : done + len(encoded)],
                        [f"{file.name}, row {row}" for row in rows],
                    )
                    start += len(encoded)
                    done += len(encoded)

    @cached_property
    def _columns(self) -> _Columns:
        first = next(iter(self._shards["train"]), None) if "train" in self._shards else None
        if first is None:
            raise DataError(f"{self._path} has no training images: no Parquet file in it is named train…")
        with _open(first) as file:
            return _find_columns(file.schema_arrow, first)

    @cached_property
    def _indexed(self) -> Indexed:
        column = self._columns
        raw = {}
        for split, files in self._shards.items():
            check_number(sum(sum(_group_sizes(file)) for file in files), str(self._path))
            parts = [
                _label_values(table.column(0), column.label, file)
                for file in files
                for table in _read(file, [column.label], rows=65536)
            ]
            raw[split] = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return index_labels(raw, str(self._path), column.names)

    def _sample(self, progress: Progress) -> Iterator[bytes]:
        """Encoded images from up to 16 places, all of them where there are no more than fit a sample."""
        column = self._columns
        groups = [
            (file, group, rows)
            for split in self._indexed.labels
            for file in self._shards[split]
            for group, rows in enumerate(_group_sizes(file))
        ]
        total = sum(rows for *_, rows in groups)
        if total > HEADERS and len(groups) > 16:
            groups = [groups[i] for i in np.linspace(0, len(groups) - 1, 16).astype(int).tolist()]
        share = -(-HEADERS // max(1, len(groups)))
        read = 0
        for file, group, rows in groups:
            wanted = rows if total <= HEADERS else min(rows, share)
            for table in _read(file, [column.image], groups=[group]):
                for content in _encoded(table, column)[:wanted]:
                    read += 1
                    if content is not None:
                        yield content
                wanted -= table.num_rows
                progress("Looking at the images", read, None)
                if wanted <= 0:
                    break


@contextlib.contextmanager
def _damage_is_told(path: Path) -> Iterator[None]:
    """On damaged files pyarrow raises almost any exception: UnicodeDecodeError, IndexError, OverflowError …"""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} is damaged: {_line(error)}; get it again") from error


def _open(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read as Parquet: {_line(error)}") from error


def _read(
    file: Path, columns: list[str], rows: int = _ROWS, groups: list[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The columns of one file, at most ``rows`` at a time, and fewer where they are large: about 64 MB."""
    import pyarrow as pa

    with _open(file) as opened:
        missing = [name for name in columns if name not in opened.schema_arrow.names]
        if missing:
            raise DataError(f"{file} has no column {missing[0]!r}, unlike the first file of the data set")
        try:
            rows = min(rows, _rows_that_fit(opened.metadata, groups))
            yield from opened.iter_batches(rows, columns=columns, row_groups=groups)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file} is damaged: {_line(error)}; get it again") from error


def _rows_that_fit(metadata: Any, groups: list[int] | None) -> int:
    """How many rows have about ``_BATCH_BYTES`` bytes, by the row group whose rows are the largest.

    All columns count. Those that are asked for could be told by ``group.column(…)``, but there pyarrow lets a damaged
    file's C++ exception through, which ends the process.
    """
    widest = 1.0
    for number in range(metadata.num_row_groups) if groups is None else groups:
        group = metadata.row_group(number)
        widest = max(widest, group.total_byte_size / max(1, group.num_rows))
    return max(1, int(_BATCH_BYTES / widest))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _group_sizes(file: Path) -> list[int]:
    with _open(file) as opened:
        return [opened.metadata.row_group(i).num_rows for i in range(opened.metadata.num_row_groups)]


def _find_columns(schema: pa.Schema, file: Path) -> _Columns:
    features = _features(schema)
    image = _pick(_IMAGES, [field.name for field in schema if _holds_images(field.type)])
    if image is None:
        raise DataError(
            f"{file} has no column of encoded images (its columns: {few(schema.names, 20)}); "
            "rung reads the Hugging Face layout, a column 'image' of structs with 'bytes'"
        )
    named = [name for name in schema.names if _class_names(features.get(name)) is not None]
    plain = [field.name for field in schema if _holds_labels(field.type) and field.name != image]
    label = _pick(_LABELS, [name for name in named if name in plain]) or _pick(_LABELS, plain)
    if label is None:
        raise DataError(
            f"{file} has no column of labels that can be told from the others (its columns: {few(schema.names, 20)}); "
            "name one of them 'label'"
        )
    return _Columns(image, _is_struct(schema.field(image).type), label, _class_names(features.get(label)))


def _pick(known: tuple[str, ...], candidates: list[str]) -> str | None:
    """The candidate with the best known name; any name will do where there is only one."""
    for name in known:
        for candidate in candidates:
            if candidate.lower() == name:
                return candidate
    return candidates[0] if len(candidates) == 1 else None


def _is_struct(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_struct(kind))


def _holds_images(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_images(kind.field(index).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _holds_labels(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    return bool(
        types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind)
    )


def _features(schema: pa.Schema) -> dict[str, Any]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(feature: object) -> tuple[str, ...] | None:
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names) if len(set(names)) == len(names) else None
    return None


def _label_values(column: pa.Array, name: str, file: Path) -> np.ndarray[Any, Any]:
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        raise DataError(f"{file} has {column.null_count:,} rows without a value in its column {name!r}; take them out")
    if types.is_string(column.type) or types.is_large_string(column.type):
        filled = np.empty(len(column), object)
        filled[:] = column.to_pylist()
        return filled
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _encoded(table: pa.RecordBatch, column: _Columns) -> list[bytes | None]:
    values = table.column(0)
    if not column.struct:
        return list(values.to_pylist())
    inner = values.field("bytes")
    if values.null_count:
        return [
            content if there else None
            for content, there in zip(inner.to_pylist(), values.is_valid().to_pylist(), strict=True)
        ]
    return list(inner.to_pylist())
