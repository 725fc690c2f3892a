"""The folder of a climb: ``climb.json``, ``report.html``, and a run folder for every training in ``rungs/``."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import RunError
from rung.runs import CHECKPOINT, REPORT, Run
from rung.storage import CheckedFolder, exclusive

if TYPE_CHECKING:
    from rung.ladder.results import StepResult

CLIMB = "climb.json"
RUNGS = "rungs"
_LOCK = ".lock"


class Climb:
    """A climb on disk. ``Climb(path)`` opens one that exists.

    Attributes:
        path: its folder.
        info: what ``climb.json`` holds.

    Raises:
        RunError: ``path`` is not the folder of a climb, or its ``climb.json`` cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._files = CheckedFolder(self.path)
        if not (self.path / CLIMB).is_file():
            raise RunError(f"{self.path} is not a climb: it has no {CLIMB}; give the folder that `rung climb` printed")
        self.info: dict[str, Any] = self._read()

    def __repr__(self) -> str:
        return f"Climb({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path | None, name: str, info: dict[str, Any]) -> Climb:
        """Make a new folder: ``path``, or ``runs/climb-NAME-DATE-TIME`` below the current folder.

        Raises:
            RunError: ``path`` exists and is not empty, or cannot be written to.
        """
        if path is None:
            stem = Path("runs") / f"climb-{name}-{datetime.now():%Y%m%d-%H%M%S}"
            path, number = stem, 1
            while path.exists():
                number += 1
                path = stem.with_name(f"{stem.name}-{number}")
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise RunError(f"the folder {path} is not empty; choose another with --out")
            (path / RUNGS).mkdir()
        except OSError as error:
            raise RunError(
                f"cannot make the folder {path}: {error.strerror or error}; choose another with --out"
            ) from error
        CheckedFolder(path).write(CLIMB, _json(info))
        return cls(path)

    def _read(self) -> dict[str, Any]:
        try:
            info: dict[str, Any] = json.loads(self._files.read(CLIMB).decode())
            assert isinstance(info["status"], str) and isinstance(info["runs"], list)
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AssertionError) as error:
            raise RunError(f"{self.path / CLIMB} is damaged: it does not describe a climb") from error
        return info

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep two processes from going on with the climb at once; reads ``climb.json`` again.

        Raises:
            RunError: another process is at it, or ``climb.json`` is damaged.
        """
        with exclusive(self.path / _LOCK, timeout=0.0) as held:
            if not held:
                raise RunError(f"{self.path} is being climbed by another process; wait for it, or stop it first")
            self.info = self._read()
            yield

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``interrupted`` or ``failed``."""
        return str(self.info["status"])

    @property
    def steps(self) -> tuple[StepResult, ...]:
        """What came out for each step that has a finished run, in their order.

        Raises:
            RunError: a file of a run is damaged.
        """
        from rung.ladder.results import results

        return results(self)

    def runs(self, name: str) -> list[Run]:
        """The finished runs of a step, by seed.

        Raises:
            RunError: one is gone or damaged.
        """
        return [Run(self.path / entry["path"]) for entry in self.entries(name)]

    def unfinished(self, name: str) -> list[Run]:
        """The runs of a step that have a checkpoint to go on from, by seed.

        Raises:
            RunError: one is damaged.
        """
        from rung.training.checkpoint import checkpoints

        done = {self.path / entry["path"] for entry in self.entries(name)}
        folders = sorted(self.folder_of(name, 0).parent.glob(f"{_stem(name)}-seed*"))
        return [Run(path) for path in folders if path not in done and checkpoints(path / CHECKPOINT)]

    def entries(self, name: str | None = None) -> list[dict[str, Any]]:
        """What ``climb.json`` says about the finished runs, of one step or of all."""
        return [entry for entry in self.info["runs"] if name in (None, entry["name"])]

    def folder_of(self, name: str, seed: int) -> Path:
        """Where a run belongs."""
        return self.path / RUNGS / f"{_stem(name)}-seed{seed}"

    def update(self, **changes: Any) -> None:
        """Set top-level keys of ``climb.json``."""
        self.info = {**self.info, **changes}
        self._files.write(CLIMB, _json(self.info))

    def report(self) -> Path:
        """Write ``report.html`` anew, without the pictures where the data is gone, and return its path.

        Raises:
            RunError: a file of a run is damaged, or the folder cannot be written to.
        """
        from rung.errors import DataError
        from rung.ladder.climbing import dataset_of
        from rung.report.climb import build_climb_report

        try:
            dataset = dataset_of(self)
        except (DataError, RunError):
            dataset = None
        build_climb_report(self, dataset)
        return self.path / REPORT

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``--json``: the climb and what came out, step by step."""
        return {
            "climb": str(self.path),
            "report": str(self.path / REPORT),
            "status": self.status,
            "mode": self.info["settings"]["mode"],
            "run_seconds": self.info["run_seconds"],
            "seconds": self.info["used"],
            "steps": [step.to_dict() for step in self.steps],
        }


def _stem(name: str) -> str:
    return name.replace(" ", "-")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
