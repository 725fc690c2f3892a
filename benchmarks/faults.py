"""Kill trainings at random moments, resume them, and compare the final weights, bit for bit.

    python benchmarks/faults.py run --trials 200      # about 10 minutes on two cores; goes on where it stopped
    python benchmarks/faults.py table

Each trial trains on generated images for a fixed number of epochs in a process of its own, which ends in one of three
ways:

- ``signal``: SIGKILL after a random time;
- ``call``: the process dies before, in the middle of, or after its n-th opening, writing, flushing (fsync) or renaming
  of a file of the run;
- ``error``: that call fails instead, with a full disk, an input/output error, or a missing permission.

Then the run is resumed, and in a third of the trials that is ended in the same way again, up to three times. A trial
passes if the run folder could be opened after every ending, and the finished run has the weights, byte for byte, of
one that nothing happened to.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tiny import use_tiny_networks

RESULTS = Path(__file__).parent / "results" / "faults.jsonl"
EPOCHS = 6
DATA = "images.npz"
CALLS = ("open", "write", "fsync", "replace")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
MOST_RESUMPTIONS = 4
# Seconds after which a process is taken for one that hangs.
PATIENCE = 120.0


class Injector:
    """Counts the calls that put files on the disk, and does something at the n-th of them."""

    def __init__(self, at: int = 0, act: Callable[[str, Callable[[], Any]], Any] | None = None) -> None:
        self.calls = 0
        self.at = at
        self.act = act

    def install(self) -> None:
        """Put itself in front of the calls of :mod:`rung.storage`, in this process."""
        from rung import storage

        injector, real_open, fsync, rename = self, Path.open, os.fsync, os.replace

        class Writer:
            def __init__(self, stream: Any) -> None:
                self.stream = stream

            def __enter__(self) -> Writer:
                return self

            def __exit__(self, *exception: object) -> None:
                self.stream.close()

            def __getattr__(self, name: str) -> Any:
                return getattr(self.stream, name)

            def write(self, content: bytes) -> int:
                def half() -> None:
                    self.stream.write(content[: len(content) // 2])
                    self.stream.flush()

                injector.at_call("write", half)
                return int(self.stream.write(content))

        def opened(path: Path, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
            if mode != "xb":
                return real_open(path, mode, *arguments, **keywords)
            injector.at_call("open")
            return Writer(real_open(path, mode, *arguments, **keywords))

        def flushed(handle: int) -> None:
            injector.at_call("fsync", lambda: fsync(handle))
            fsync(handle)

        def replaced(source: Any, target: Any, **keywords: Any) -> None:
            injector.at_call("replace", lambda: rename(source, target, **keywords))
            rename(source, target, **keywords)

        Path.open = opened  # type: ignore[method-assign, assignment]
        storage.os.fsync = flushed  # type: ignore[attr-defined]
        storage.os.replace = replaced  # type: ignore[attr-defined, assignment]

    def at_call(self, name: str, done: Callable[[], Any] = lambda: None) -> None:
        """One of the calls is about to be made; ``done`` makes it, or half of it."""
        self.calls += 1
        if self.calls == self.at and self.act is not None:
            self.act(name, done)


def _die(late: bool) -> Callable[[str, Callable[[], Any]], None]:
    def act(name: str, done: Callable[[], Any]) -> None:
        if late:
            done()
        os.kill(os.getpid(), signal.SIGKILL)

    return act


def _refuse(code: int) -> Callable[[str, Callable[[], Any]], None]:
    def act(name: str, done: Callable[[], Any]) -> None:
        raise OSError(code, os.strerror(code))

    return act


def in_process(work: Callable[[], None], injector: Injector, kill_after: float | None = None) -> tuple[str, int]:
    """Fork, do ``work`` there, and say how it ended (``"done"``, ``"refused"``, ``"killed"``) after how many calls."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.close(reading)
            injector.install()
            from rung.errors import RungError

            try:
                work()
                code = 0
            except RungError:
                code = 3
            os.write(writing, str(injector.calls).encode())
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(code)
    os.close(writing)
    ending = time.monotonic() + (PATIENCE if kill_after is None else kill_after)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() >= ending:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    with os.fdopen(reading, "rb") as stream:
        calls = int(stream.read() or b"0")
    if os.WIFSIGNALED(status):
        if kill_after is None and time.monotonic() >= ending:
            return "hung", calls
        return "killed", calls
    return {0: "done", 3: "refused"}.get(os.WEXITSTATUS(status), "crashed"), calls


def _train(data: Path, out: Path) -> None:
    import rung

    rung.train(data, epochs=EPOCHS, seed=1, out=out, threads=1, precision="float32")


def _resume(out: Path) -> None:
    import rung

    rung.resume(out)


def weights(out: Path) -> str:
    """The hash of what a finished run is about."""
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def trial(number: int, folder: Path, reference: str, calls: int, seconds: float) -> dict[str, Any]:
    """One training, ended and resumed until it is through; a row of the results."""
    from rung.errors import RunError
    from rung.runs import Run

    chance = random.Random(number)
    out = folder / f"run{number}"
    way = ("signal", "call", "error")[number % 3]
    row: dict[str, Any] = {"trial": number, "way": way, "endings": [], "unreadable": 0}
    faults = 1 + (sum(chance.random() < 0.33 for _ in range(2)))
    for attempt in range(faults + MOST_RESUMPTIONS):
        begun = (out / "run.json").is_file()
        injector, kill_after = Injector(), None
        if attempt < faults:
            share = chance.random() if attempt == 0 else chance.random() * 0.7
            if way == "signal":
                kill_after = share * seconds
            else:
                act = _die(chance.random() < 0.5) if way == "call" else _refuse(chance.choice(ERRORS))
                injector = Injector(1 + int(share * calls), act)
        if not begun:
            shutil.rmtree(out, ignore_errors=True)
        work = partial(_resume, out) if begun else partial(_train, folder / DATA, out)
        how, _ = in_process(work, injector, kill_after)
        row["endings"].append(how)
        if (out / "run.json").exists():
            try:
                if Run(out).status == "finished":
                    break
            except RunError:
                row["unreadable"] += 1
    row["finished"] = (out / "model.safetensors").exists() and Run(out).status == "finished"
    row["identical"] = row["finished"] and weights(out) == reference
    row["report"] = (out / "report.html").exists()
    if row["identical"]:
        shutil.rmtree(out)
    return row


def prepare(data: Path) -> None:
    """Write images to train on; import what that needs, so that a fork starts at once; save a checkpoint a row."""
    import numpy as np

    import rung.pipeline.training
    import rung.report
    from rung.evaluation.metrics import preload

    use_tiny_networks()
    # The forks have scikit-learn already, so they need no second process that imports it.
    preload()
    rung.pipeline.training.EvaluationWorker.__init__ = lambda self: setattr(self, "_process", None)
    random = np.random.default_rng(0)
    labels = np.arange(400) % 4
    images = random.integers(0, 120, (400, 10, 10, 3)) + 30 * labels[:, None, None, None]
    np.savez(data, x=images.astype(np.uint8), y=labels)


def run(trials: int, results: Path) -> list[dict[str, Any]]:
    """Make the trials that ``results`` does not have, after a reference without any fault."""
    folder = Path(tempfile.mkdtemp(prefix="rung-faults-"))
    prepare(folder / DATA)
    started = time.monotonic()
    how, calls = in_process(lambda: _train(folder / DATA, folder / "reference"), Injector())
    seconds = time.monotonic() - started
    if how != "done":
        raise SystemExit(f"the training without a fault ended as {how!r}")
    reference = weights(folder / "reference")
    print(f"reference: {seconds:.1f} s, {calls} calls, weights {reference[:12]}")
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    results.parent.mkdir(parents=True, exist_ok=True)
    for number in range(len(rows), trials):
        row = trial(number, folder, reference, calls, seconds)
        rows.append(row)
        with results.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        if not row["identical"] or row["unreadable"]:
            print(f"trial {number} failed: {row}; its folder is {folder}")
    if all(row["identical"] for row in rows):
        shutil.rmtree(folder)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: what was done, and what came of it."""
    heads = ("way", "trials", "endings before the last", "identical weights", "unreadable folders")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for way in ("signal", "call", "error", "all"):
        chosen = [row for row in rows if way in (row["way"], "all")]
        endings = Counter(how for row in chosen for how in row["endings"][:-1])
        told = ", ".join(f"{count} {how}" for how, count in sorted(endings.items())) or "none"
        good = sum(row["identical"] for row in chosen)
        lines.append(f"| {way} | {len(chosen)} | {told} | {good} | {sum(row['unreadable'] for row in chosen)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.command == "run":
        rows = run(arguments.trials, arguments.results)
    else:
        rows = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    print(table(rows))
    sys.exit(0 if all(row["identical"] and not row["unreadable"] for row in rows) else 1)


if __name__ == "__main__":
    main()
