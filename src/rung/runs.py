"""The run folder: the only code that knows its layout.

Every file is replaced in one instant and has a checksum (see ``storage.py``), so a crash at any instant leaves
either the old file or the new one, and a file that was damaged later is noticed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import RunError
from rung.storage import CheckedFolder, exclusive

if TYPE_CHECKING:
    import pyarrow as pa

    from rung.evaluation.result import Evaluation
    from rung.training.recordings import Recordings

RUN = "run.json"
HISTORY = "history.csv"
MODEL = "model.safetensors"
EVALUATION = "evaluation.json"
PREDICTIONS = "predictions.parquet"
FINDINGS = "findings.json"
RECORDINGS = "recordings.safetensors"
REPORT = "report.html"
EXCLUDED = "excluded.csv"
SERVING = "serving.onnx"
NEIGHBOURS = "neighbours.safetensors"
CHECKPOINT = "checkpoint"
_LOCK = ".lock"


@dataclass(frozen=True)
class Epoch:
    """One row of ``history.csv``: the state after an epoch (or at the end of a part of one).

    ``epoch`` counts passes over the training split and may be a fraction in the last row; ``seconds`` is
    training time since the first step; losses are in nats, accuracies fractions from 0 to 1.
    """

    epoch: float
    step: int
    seconds: float
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    images_per_second: float


class Run:
    """A training run on disk. ``Run(path)`` opens one that exists; :meth:`create` starts a new one.

    Raises:
        RunError: ``path`` is not a run folder, or its ``run.json`` cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._files = CheckedFolder(self.path)
        if not (self.path / RUN).is_file():
            raise RunError(
                f"{self.path} is not a run folder: it has no {RUN}; give the folder that `rung train` printed"
            )
        info = self.read_json(RUN)
        if not isinstance(info, dict) or not isinstance(info.get("status"), str):
            raise RunError(f"{self.path / RUN} is damaged: it does not describe a run")
        self.info: dict[str, Any] = info

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path | None, name: str, info: Mapping[str, Any]) -> Run:
        """Make a new run folder: ``path``, or ``runs/NAME-DATE-TIME`` below the current folder.

        Raises:
            RunError: ``path`` exists and is not empty, or cannot be written to.
        """
        try:
            if path is None:
                path = _new_folder(Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
            path.mkdir(parents=True, exist_ok=True)
            taken = any(path.iterdir())
        except OSError as error:
            raise RunError(
                f"cannot make the run folder {path}: {error.strerror or error}; choose another with --out"
            ) from error
        if taken:
            raise RunError(f"the run folder {path} is not empty; choose another with --out")
        CheckedFolder(path).write(RUN, _json(info))
        return cls(path)

    # --- reading ---------------------------------------------------------------------------------

    def read_json(self, name: str) -> Any:
        """The content of a JSON file of the run.

        Raises:
            RunError: the file is missing or is not JSON.
        """
        try:
            return json.loads(self._files.read(name).decode())
        except FileNotFoundError as error:
            raise RunError(f"{self.path} has no {name}: the run has not come that far") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.path / name} cannot be read: {error}") from error

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``interrupted`` or ``failed``."""
        return str(self.info["status"])

    @property
    def evaluation(self) -> Evaluation:
        """The metrics on the test split.

        Raises:
            RunError: the run has not been evaluated.
        """
        from rung.evaluation.result import Evaluation

        values = self.read_json(EVALUATION)
        try:
            return Evaluation.from_dict(values)
        except (KeyError, TypeError) as error:
            raise RunError(f"{self.path / EVALUATION} is incomplete: {error}") from error

    @property
    def history(self) -> tuple[Epoch, ...]:
        """The rows of ``history.csv``, oldest first; empty before the first epoch has ended."""
        path = self.path / HISTORY
        if not path.exists():
            return ()
        try:
            rows = list(csv.DictReader(io.StringIO(self._files.read(HISTORY).decode())))
            names = [f.name for f in fields(Epoch) if f.name != "step"]
            return tuple(Epoch(step=int(row["step"]), **{name: float(row[name]) for name in names}) for row in rows)
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise RunError(f"{path} cannot be read: {error}") from error

    @property
    def predictions(self) -> pa.Table:
        """A row a test image: ``index``, ``label``, ``prediction`` and ``probabilities`` (a list)."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        path = self.path / PREDICTIONS
        try:
            return parquet.read_table(io.BytesIO(self._files.read(PREDICTIONS)))
        except FileNotFoundError as error:
            raise RunError(f"{self.path} has no {PREDICTIONS}: the run has not been evaluated") from error
        except (OSError, ValueError, pa.ArrowException) as error:
            raise RunError(f"{path} cannot be read: {error}") from error

    @property
    def recordings(self) -> Recordings | None:
        """What was seen inside the network while it trained; None where nothing was recorded.

        Raises:
            RunError: the file is damaged.
        """
        from rung.training.recordings import Recordings

        path = self.path / RECORDINGS
        if not path.exists():
            return None
        try:
            return Recordings.from_bytes(self._files.read(RECORDINGS))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error

    def read_bytes(self, name: str) -> bytes:
        """The content of any file of the run.

        Raises:
            OSError: it is missing, or cannot be read.
            RunError: it is damaged.
        """
        return self._files.read(name)

    def report(self) -> Path:
        """The path of ``report.html``, which is written anew if it is missing.

        Raises:
            RunError: a file of the run is damaged, or its folder cannot be written to.
        """
        path = self.path / REPORT
        if not path.is_file():
            # The one thing that this module takes from above, for the sake of who has a run in hand.
            from rung.pipeline import report

            report(self)
        return path

    # --- writing ---------------------------------------------------------------------------------

    def exclusively(self) -> contextlib.AbstractContextManager[None]:
        """Keep the run from being trained by two processes at once; see :func:`exclusively`."""
        return exclusively(self.path)

    def update(self, **changes: Any) -> None:
        """Set top-level keys of ``run.json``."""
        self.info = {**self.info, **changes}
        self.write_json(RUN, self.info)

    def write_json(self, name: str, value: Any) -> None:
        self._files.write(name, _json(value))

    def write_history(self, epochs: Iterable[Epoch]) -> None:
        names = [f.name for f in fields(Epoch)]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_short(getattr(epoch, name)) for name in names] for epoch in epochs)
        self._files.write(HISTORY, text.getvalue().encode())

    def write_predictions(self, indices: Sequence[int], labels: Any, probabilities: Any) -> None:
        """``probabilities``: float32 (N, classes); the prediction is the most probable class."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        count, classes = probabilities.shape
        flat = pa.array(probabilities.reshape(-1), pa.float32())
        table = pa.table(
            {
                "index": pa.array(indices, pa.int64()),
                "label": pa.array(labels, pa.int64()),
                "prediction": pa.array(probabilities.argmax(1), pa.int64()),
                "probabilities": pa.FixedSizeListArray.from_arrays(flat, classes),
            }
        )
        assert len(table) == count
        sink = io.BytesIO()
        parquet.write_table(table, sink)
        self._files.write(PREDICTIONS, sink.getvalue())

    def write_text(self, name: str, text: str) -> None:
        self._files.write(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        self._files.write(name, content)


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Keep the run in a folder from being trained by two processes at once, whatever the folder holds so far.

    Raises:
        RunError: another process is at it.
    """
    with exclusive(path / _LOCK, timeout=0.0) as held:
        if not held:
            raise RunError(f"{path} is being trained by another process; wait for it, or stop it first")
        yield


def _new_folder(stem: Path) -> Path:
    """Make a folder of this name, or of the name with a number where others have it."""
    for number in itertools.count(1):
        path = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise AssertionError


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
