"""Predictions as a table, CSV, JSON lines or Parquet, written while they come."""

from __future__ import annotations

import contextlib
import csv
import json
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from rung.data.lists import escape
from rung.errors import RunError, UsageError
from rung.prediction.predicting import Prediction, shown
from rung.storage import is_device
from rung.terminal import harmless

_ROWS = 4096  # of a row group of Parquet
_WIDEST = 28  # characters of a class name in the table


class Writer(ABC):
    """Takes predictions one at a time.

    Args:
        out: where to write.
        classes: of the run.
        top: how many classes are told, at least 1.
        threshold: below which the answer is "unsure", 0 to 1.
    """

    binary = False

    def __init__(self, out: Any, classes: tuple[str, ...], top: int, threshold: float) -> None:
        self.out = out
        self.classes = classes
        self.top = min(top, len(classes))
        self.threshold = threshold

    @abstractmethod
    def write(self, prediction: Prediction) -> None: ...

    def close(self) -> None:  # noqa: B027 (most have nothing to do)
        """After the last prediction."""


class Table(Writer):
    """For people: the answer, how sure it is, the file, and what else it could be."""

    def write(self, prediction: Prediction) -> None:
        width = min(_WIDEST, max(map(len, self.classes)))
        path = harmless(shown(prediction.path))
        if prediction.error is not None:
            self.out.write(f"{'unreadable':<{width}}       -  {path}  ({harmless(prediction.error)})\n")
            return
        answer = harmless(str(prediction.answer(self.threshold)))
        others = ", ".join(f"{harmless(name)} {value:.1%}" for name, value in prediction.top(self.top)[1:])
        line = f"{answer:<{width}}  {prediction.probability:>6.1%}  {path}"
        self.out.write(f"{line}  ({others})\n" if others else f"{line}\n")


class Csv(Writer):
    """For spreadsheets: a row a file, the further classes in columns of their own.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it.
    """

    def __init__(self, out: Any, classes: tuple[str, ...], top: int, threshold: float) -> None:
        super().__init__(out, classes, top, threshold)
        self._rows = csv.writer(out, lineterminator="\n")
        more = [name for k in range(2, self.top + 1) for name in (f"label_{k}", f"probability_{k}")]
        self._rows.writerow(["path", "label", "probability", *more, "error"])

    def write(self, prediction: Prediction) -> None:
        first: list[Any] = ["", ""]
        if prediction.probability is not None:
            first = [escape(str(prediction.answer(self.threshold))), f"{prediction.probability:.6f}"]
        more: list[Any] = []
        for name, value in prediction.top(self.top)[1:]:
            more += [escape(name), f"{value:.6f}"]
        more += [""] * (2 * (self.top - 1) - len(more))
        self._rows.writerow([escape(shown(prediction.path)), *first, *more, escape(prediction.error or "")])


class JsonLines(Writer):
    """For programs: an object a line."""

    def write(self, prediction: Prediction) -> None:
        path = shown(prediction.path)
        if prediction.error is not None:
            row: dict[str, Any] = {"path": path, "error": prediction.error}
        else:
            top = [{"label": name, "probability": round(value, 6)} for name, value in prediction.top(self.top)]
            row = {
                "path": path,
                "label": prediction.answer(self.threshold),
                "probability": top[0]["probability"],
                "top": top,
            }
        # Escaped, so that no name of a file can be anything but text wherever this is shown.
        self.out.write(json.dumps(row) + "\n")


class Parquet(Writer):
    """For analysis: with the probabilities of all classes, whose names are in the schema's metadata."""

    binary = True

    def __init__(self, out: Any, classes: tuple[str, ...], top: int, threshold: float) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        super().__init__(out, classes, top, threshold)
        fields = [
            ("path", pa.string()),
            ("label", pa.string()),
            ("probability", pa.float32()),
            ("probabilities", pa.list_(pa.float32(), len(classes))),
            ("error", pa.string()),
        ]
        self._schema = pa.schema(fields, metadata={"classes": json.dumps(classes)})
        self._file = parquet.ParquetWriter(out, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, prediction: Prediction) -> None:
        row = {
            "path": shown(prediction.path),
            "label": prediction.answer(self.threshold),
            "probability": prediction.probability,
            "probabilities": prediction.probabilities,
            "error": prediction.error,
        }
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa

        self._file.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()


FORMATS: dict[str, type[Writer]] = {"table": Table, "csv": Csv, "json": JsonLines, "parquet": Parquet}
"""The registry of formats, by the names that ``--format`` takes."""

_ENDINGS = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def chosen_format(name: str | None, output: Path | None) -> str:
    """The format of that name, or else the one that the ending of ``output`` tells, or else a table.

    Raises:
        UsageError: there is no such format, or it cannot be shown on a terminal, or that ending tells none.
    """
    if name is None and output is not None and output.suffix.lower() not in {*_ENDINGS, "", ".txt"}:
        raise UsageError(
            f"--output {output} ends in {output.suffix}, which is no format that is known here; let it end in "
            f"{', '.join(_ENDINGS)}, or say --format {', '.join(FORMATS)}"
        )
    found = name or (_ENDINGS.get(output.suffix.lower()) if output else None) or "table"
    if found not in FORMATS:
        raise UsageError(f"--format is {found!r}; it must be one of {', '.join(FORMATS)}")
    if FORMATS[found].binary and output is None:
        raise UsageError(f"{found} is not text; say where to write it with --output FILE")
    return found


@contextlib.contextmanager
def opened(kind: str, output: Path | None, classes: tuple[str, ...], top: int, threshold: float) -> Iterator[Writer]:
    """A writer of the format ``kind`` to ``output``, which gets its name when it is complete, or to standard output.

    Raises:
        RunError: the file cannot be written.
    """
    made = FORMATS[kind]
    if output is None:
        writer = made(_standard_output(), classes, top, threshold)
        yield writer
        writer.close()
        return
    direct = is_device(output)
    place = output if direct else output.with_name(f".{output.name}.{secrets.token_hex(8)}")
    how = "w" if direct else "x"
    try:
        # A byte order mark is what makes Excel read UTF-8 as such.
        encoding = "utf-8-sig" if kind == "csv" else "utf-8"
        with place.open(f"{how}b") if made.binary else place.open(how, encoding=encoding, newline="") as out:
            writer = made(out, classes, top, threshold)
            yield writer
            writer.close()
        if not direct:
            place.replace(output)
    except OSError as error:
        raise RunError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        if not direct:
            place.unlink(missing_ok=True)


def _standard_output() -> TextIO:
    # A terminal that cannot show a character shall not end the work.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    return sys.stdout
