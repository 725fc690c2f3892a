"""One measurement in a process of its own, and where its row is kept."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.commands import rung_train
from benchmarks.peers.environments import images, python_of
from benchmarks.peers.plan import PEERS, Peer

from rung.budget import parse_duration

Row = dict[str, Any]

# What holds each library to an older instruction set than the processor has.
ISAS = {
    "AVX2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "AVX512": {
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "OPENBLAS_CORETYPE": "SkylakeX",
    },
}


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        peer: its name.
        budget: such as ``"2m"``: of the whole command for rung, of training for everybody else.
        seed: of the weights and the order of images.
        isa: a key of ``ISAS``, or None for all that the processor has.
        until: a test accuracy at which the peer stops, for a race.
        fixed_epochs: the length of the speed-run's schedule, instead of one that fits the budget.
    """

    peer: str
    budget: str
    seed: int
    isa: str | None = None
    until: float | None = None
    fixed_epochs: int | None = None


def machine() -> Row:
    """The processor with its family and model, because virtual ones share a name over generations; and the cores."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
        facts = {name.strip(): value.strip() for name, _, value in lines}
        if "model name" in facts:
            processor = "{model name}, family {cpu family} model {model}".format_map(facts)
    return {"processor": processor, "cores": cores()}


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def find(rows: list[Row], job: Job, here: Row) -> Row | None:
    """The row of this measurement on this machine. One that failed counts as missing, and is tried again."""
    wanted = asdict(job) | here
    return next((r for r in rows if "error" not in r and all(r.get(k) == v for k, v in wanted.items())), None)


def measured(path: Path, job: Job, folder: Path) -> Row:
    """The row of a measurement, made now where there is none."""
    here = machine()
    row = find(read(path), job, here)
    if row is None:
        row = {**asdict(job), **here, **measure(job, folder), "date": time.strftime("%Y-%m-%d")}
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps({name: value for name, value in row.items() if name != "looks"}), flush=True)
    return row


def measure(job: Job, folder: Path) -> Row:
    """Run it. What goes wrong becomes the row's ``"error"``, so that the others go on."""
    peer = PEERS[job.peer]
    environ = os.environ | ISAS.get(job.isa or "", {}) | {"OMP_NUM_THREADS": str(cores())}
    with tempfile.TemporaryDirectory() as workplace:
        run = Path(workplace) / "run"
        try:
            command = rung_command(job, run) if peer.environment is None else peer_command(peer, job, folder)
            # Where tools leave what they like; but a relative $RUNG_DATA has to stay right for rung.
            where = None if peer.environment is None else workplace
            start = time.monotonic()
            done = subprocess.run(
                command, capture_output=True, text=True, env=environ, cwd=where, timeout=patience(job), check=False
            )
            wall = round(time.monotonic() - start, 2)
            if done.returncode:
                return {"error": (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1][:500]}
            result = json.loads(done.stdout.splitlines()[-1]) if peer.environment else rung_result(run)
        except (OSError, subprocess.TimeoutExpired, ValueError, LookupError) as error:
            return {"error": f"{type(error).__name__}: {error}"[:500]}
    return {**result, "wall": wall}


def patience(job: Job) -> float:
    """Seconds after which something hangs: importing and evaluating take minutes, and one step can be long."""
    return 24 * 3600 if job.until is not None else 3 * parse_duration(job.budget) + 1800


def peer_command(peer: Peer, job: Job, folder: Path) -> list[str]:
    assert peer.environment is not None
    python = python_of(folder, peer.environment)
    if not python.exists():
        raise FileNotFoundError(f"no environment {peer.environment}; python -m benchmarks.peers install {peer.name}")
    command = [str(python), str(peer.path), "--data", str(images(folder)), *peer.options]
    command += ["--seconds", f"{parse_duration(job.budget):g}", "--seed", str(job.seed), "--threads", str(cores())]
    if job.until is not None:
        command += ["--until", str(job.until)]
    if job.fixed_epochs is not None:
        command += ["--epochs", str(job.fixed_epochs)]
    return command


def rung_command(job: Job, run: Path) -> list[str]:
    # From random weights, as the others; and where the extra is not installed nothing changes.
    return rung_train("cifar10", job.budget, run, "--seed", str(job.seed), "--pretrained", "never")


def rung_result(run: Path) -> Row:
    evaluation, info = (json.loads((run / f"{name}.json").read_text()) for name in ("evaluation", "run"))
    return {
        "accuracy": evaluation["accuracy"],
        "training_seconds": round(evaluation["seconds"], 2),
        "epochs": round(info["outcome"]["epochs"], 3),
        "versions": {name: version(name) for name in ("rung", "torch")},
    }
