"""Kill trainings and climbs at random moments, resume them, and compare the final weights, bit for bit.

    python benchmarks/faults.py run --trials 200               # about 10 minutes on two cores; goes on where it stopped
    python benchmarks/faults.py run --job climb --trials 60
    python benchmarks/faults.py table

Each trial trains (or climbs: three rungs, and the test split at the end) on generated images for a fixed number of
epochs in a process of its own, which ends in one of three ways:

- ``signal``: SIGKILL after a random time;
- ``call``: the process dies before, in the middle of, or after its n-th opening, writing, flushing (fsync) or renaming
  of a file of the run;
- ``error``: that call fails instead, with a full disk, an input/output error, or a missing permission.

Then the run is resumed, and in a third of the trials that is ended in the same way again, up to three times. A trial
passes if the run folder could be opened after every ending, and the finished run has the weights, byte for byte, of
one that nothing happened to (a climb: all its runs have them).
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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rung.training.plan import Plan
from tiny import TINY, use_tiny_networks

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


@dataclass(frozen=True)
class Job:
    """A command that can be resumed.

    Attributes:
        record: the file that says how it stands, in its folder.
        start: what the command does, from data and a folder to make.
        resume: what ``--resume`` does, from the folder.
        finished: whether the folder says so. Raises RungError if it cannot be read.
        models: the folders of the models that came out, in order.
    """

    record: str
    start: Callable[[Path, Path], object]
    resume: Callable[[Path], object]
    finished: Callable[[Path], bool]
    models: Callable[[Path], list[Path]]

    def weights(self, out: Path) -> str:
        """The hash of what has come out."""
        content = b"".join((model / "model.safetensors").read_bytes() for model in self.models(out))
        return hashlib.sha256(content).hexdigest()


def _train(epochs: int, data: Path, out: Path) -> None:
    import rung

    rung.train(data, epochs=epochs, seed=1, out=out, threads=1, precision="float32")


def _resume(out: Path) -> None:
    import rung

    rung.resume(out)


def _run_finished(out: Path) -> bool:
    from rung.runs import Run

    return Run(out).status == "finished"


def _climb(data: Path, out: Path) -> None:
    from rung.ladder import climb

    climb(data, "10m", mode="down", equal="epochs", seed=1, out=out, threads=1, precision="float32")


def _resume_climb(out: Path) -> None:
    from rung.ladder import resume

    resume(out)


def _climb_finished(out: Path) -> bool:
    from rung.ladder import Climb

    return Climb(out).status == "finished"


def _climb_models(out: Path) -> list[Path]:
    from rung.ladder import Climb

    found = Climb(out)
    # Each once, judged on the test split, in the order of the steps.
    assert all(step.test_accuracy is not None for step in found.steps)
    return [run.path for step in found.steps for run in found.runs(step.name)]


def jobs(epochs: int) -> dict[str, Job]:
    """What can be killed, by name; each trains for so many epochs (a climb by :func:`_let_climbs_be_short`)."""
    return {
        "train": Job("run.json", partial(_train, epochs), _resume, _run_finished, lambda out: [out]),
        "climb": Job("climb.json", _climb, _resume_climb, _climb_finished, _climb_models),
    }


def trial(job: Job, number: int, folder: Path, reference: str, calls: int, seconds: float) -> dict[str, Any]:
    """One job, ended and resumed until it is through; a row of the results."""
    from rung.errors import RungError

    chance = random.Random(number)
    out = folder / f"run{number}"
    way = ("signal", "call", "error")[number % 3]
    row: dict[str, Any] = {"trial": number, "way": way, "endings": [], "unreadable": 0, "finished": False}
    faults = 1 + (sum(chance.random() < 0.33 for _ in range(2)))
    for attempt in range(faults + MOST_RESUMPTIONS):
        begun = (out / job.record).is_file()
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
        work = partial(job.resume, out) if begun else partial(job.start, folder / DATA, out)
        how, _ = in_process(work, injector, kill_after)
        row["endings"].append(how)
        if (out / job.record).exists():
            try:
                row["finished"] = job.finished(out)
            except RungError:
                row["unreadable"] += 1
        if row["finished"]:
            break
    row["identical"] = row["finished"] and job.weights(out) == reference
    row["report"] = (out / "report.html").exists()
    if row["identical"]:
        shutil.rmtree(out)
    return row


def prepare(data: Path, epochs: int) -> None:
    """Write images to train on; import what that needs, so that a fork starts at once; save a checkpoint a row."""
    import numpy as np

    import rung.pipeline.training
    import rung.report
    from rung.evaluation.metrics import preload

    use_tiny_networks()
    _let_climbs_be_short(epochs)
    # The forks have scikit-learn already, so they need no second process that imports it.
    preload()
    rung.pipeline.training.EvaluationWorker.__init__ = lambda self: setattr(self, "_process", None)
    random = np.random.default_rng(0)
    labels = np.arange(400) % 4
    images = random.integers(0, 120, (400, 10, 10, 3)) + 30 * labels[:, None, None, None]
    np.savez(data, x=images.astype(np.uint8), y=labels)


def _let_climbs_be_short(epochs: int) -> None:
    """Three models, one of each, for so many epochs, whatever the speed of the machine."""
    from rung.ladder import climbing, planning, steps

    plan = planning.make_plan

    def choose(chosen: planning.Planning, *about: object) -> None:
        chosen.length, chosen.epochs = 1.0, float(epochs)

    def tiny(*given: Any, **named: Any) -> Plan:
        planned = plan(*given, **named)
        return replace(planned, recipe=replace(planned.recipe, network=TINY, filter_rate=0.1, views=1))

    planning.Planning.choose_length = choose  # type: ignore[method-assign]
    planning.make_plan = tiny
    steps.ABLATIONS = steps.ABLATIONS[:2]
    climbing.next_seed = lambda *about: None


def run(name: str, trials: int, results: Path, epochs: int) -> None:
    """Make the trials of a job that ``results`` does not have, after a reference without any fault."""
    folder = Path(tempfile.mkdtemp(prefix="rung-faults-"))
    prepare(folder / DATA, epochs)
    started = time.monotonic()
    job = jobs(epochs)[name]
    how, calls = in_process(lambda: job.start(folder / DATA, folder / "reference"), Injector())
    seconds = time.monotonic() - started
    if how != "done":
        raise SystemExit(f"the {name} without a fault ended as {how!r}")
    reference = job.weights(folder / "reference")
    print(f"reference: {seconds:.1f} s, {calls} calls, weights {reference[:12]}")
    rows = rows_of(name, results)
    results.parent.mkdir(parents=True, exist_ok=True)
    for number in range(len(rows), trials):
        row = {"job": name, **trial(job, number, folder, reference, calls, seconds)}
        rows.append(row)
        with results.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        if not row["identical"] or row["unreadable"]:
            print(f"trial {number} failed: {row}; its folder is {folder}")
    if all(row["identical"] for row in rows):
        shutil.rmtree(folder)


def rows_of(name: str, results: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    return [row for row in rows if row["job"] == name]


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
    parser.add_argument("--job", choices=list(jobs(EPOCHS)), default="train")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each training; the same for all that is kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.job, arguments.trials, arguments.results, arguments.epochs)
    rows = rows_of(arguments.job, arguments.results)
    print(table(rows))
    sys.exit(0 if all(row["identical"] and not row["unreadable"] for row in rows) else 1)


if __name__ == "__main__":
    main()
