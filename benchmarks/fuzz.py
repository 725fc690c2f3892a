"""Feed damaged and hostile files to every reader, guided by the code that they reach.

    pip install atheris
    python benchmarks/fuzz.py image --seconds 600     # one of the targets below
    python benchmarks/fuzz.py all --seconds 600       # one after another, in processes of their own
    python benchmarks/fuzz.py table

An input passes if the reader takes it, or refuses it by a ``rung`` error that names the file; in less than a second;
and while the process stays below 2 GB. Whatever else happens ends the target, and the input is kept below
``benchmarks/results/fuzz/``. The executions are appended to ``benchmarks/results/fuzz.jsonl``.

Engine: atheris (libFuzzer for Python, https://github.com/google/atheris); what it sees of the coverage is Python code,
not the C code of Pillow, pyarrow and zlib, which have fuzzers of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny import use_tiny_networks

RESULTS = Path(__file__).parent / "results" / "fuzz.jsonl"
FOUND = Path(os.environ.get("RUNG_FUZZ_RESULTS", Path(__file__).parent / "results" / "fuzz"))
MEGABYTES = 2048
SECONDS = 1.0
LONGEST_INPUT = 1 << 16

Target = Callable[[bytes], None]
# Where files are written for readers that want a path: memory, where the system has such a place.
_SHM = Path("/dev/shm")
WORK = Path(tempfile.mkdtemp(prefix="rung-fuzz-", dir=_SHM if _SHM.is_dir() else None))


# --- targets -------------------------------------------------------------------------------------


def refused(name: str, work: Callable[[], object]) -> None:
    """Do it; a refusal has to name ``name``."""
    from rung.errors import RungError

    try:
        work()
    except RungError as error:
        if name not in str(error):
            raise AssertionError(f"the refusal does not name {name}: {error}") from error


def _read_everything(path: Path) -> None:
    from rung.data.preprocessing import read_image
    from rung.data.resolve import open_path
    from rung.progress import silent

    reader = open_path(path)
    reader.inspect(silent)
    for batch in reader.batches():
        for image, name in zip(batch.images, batch.names, strict=True):
            if isinstance(image, bytes | Path):
                refused(name, lambda image=image, name=name: read_image(image, (16, 16), 3, name=name))  # type: ignore[misc]


def image(data: bytes) -> None:
    from rung.data.preprocessing import read_image

    refused("photo.x", lambda: read_image(data, (16, 16), 3, name="photo.x"))


def _file(name: str) -> Target:
    path = WORK / name

    def read(data: bytes) -> None:
        path.write_bytes(data)
        refused(path.name, lambda: _read_everything(path))

    return read


def idx(data: bytes) -> None:
    """The first byte says which of the two files is damaged."""
    files = [WORK / "idx" / "train-images-idx3-ubyte", WORK / "idx" / "train-labels-idx1-ubyte"]
    files[0].parent.mkdir(exist_ok=True)
    whole = _idx_files()
    damaged = bool(data[:1] and data[0] % 2)
    for position, path in enumerate(files):
        path.write_bytes(data[1:] if position == damaged else whole[position])
    refused("idx", lambda: _read_everything(files[0].parent))


def cifar_pickle(data: bytes) -> None:
    from rung.data.restricted_pickle import RefusedPickle, load_dictionary

    with contextlib.suppress(RefusedPickle):
        load_dictionary(data)


def cifar_binary(data: bytes) -> None:
    folder = WORK / "cifar"
    folder.mkdir(exist_ok=True)
    half = len(data) // 2
    (folder / "train.bin").write_bytes(data[:half])
    (folder / "test.bin").write_bytes(data[half:])
    (folder / "fine_label_names.txt").write_bytes(data[-40:])
    refused("cifar", lambda: _read_everything(folder))


RUN_FILES = (
    "run.json",
    "history.csv",
    "evaluation.json",
    "findings.json",
    "predictions.parquet",
    "recordings.safetensors",
    "model.safetensors",
    "checksums.json",
    "checkpoint/step-000000004.safetensors",
)


def run_folder(data: bytes) -> None:
    """The first byte says which file of a run is replaced by the rest."""
    from rung.runs import Run
    from rung.training.checkpoint import load_checkpoint
    from rung.training.weights import load_classifier, recipe_of

    whole, state = _run_files()
    name = RUN_FILES[data[0] % len(RUN_FILES) if data else 0]
    folder = WORK / "run"
    (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
    for file, content in whole.items():
        (folder / file).write_bytes(content)
    (folder / name).write_bytes(data[1:])
    called = str(folder)

    # What the file is read for.
    readers: dict[str, Callable[[Run], object]] = {
        "run.json": recipe_of,
        "history.csv": lambda run: run.history,
        "evaluation.json": lambda run: run.evaluation,
        "findings.json": lambda run: run.read_json("findings.json"),
        "predictions.parquet": lambda run: run.predictions,
        "recordings.safetensors": lambda run: run.recordings,
        "model.safetensors": load_classifier,
        "checkpoint/step-000000004.safetensors": lambda _: load_checkpoint(folder / "checkpoint", state),
    }

    def every() -> None:
        run = Run(folder)
        if name == "run.json":
            refused(called, lambda: load_classifier(run))
        readers.get(name, lambda run: run.evaluation)(run)

    refused(called, every)


TARGETS: dict[str, Target] = {
    "image": image,
    "idx": idx,
    "npz": _file("images.npz"),
    "parquet": _file("images.parquet"),
    "cifar-archive": _file("cifar-10.tar.gz"),
    "cifar-binary": cifar_binary,
    "cifar-pickle": cifar_pickle,
    "run-folder": run_folder,
}


# --- seeds: small files that are whole --------------------------------------------------------------


def _pictures() -> list[bytes]:
    import numpy as np
    from PIL import Image

    values = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    found = []
    for form, mode in (
        *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "P", "I;16", "1")),
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *((form, "RGB") for form in ("GIF", "BMP", "TIFF", "WEBP", "PPM")),
    ):
        picture = Image.fromarray(values, "RGBA")
        picture = picture.convert("L").convert("I").convert("I;16") if mode == "I;16" else picture.convert(mode)
        content = io.BytesIO()
        picture.save(content, form)
        found.append(content.getvalue())
    return found


def _idx_files() -> tuple[bytes, bytes]:
    images = bytes([0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 4, 0, 0, 0, 4]) + bytes(range(96))
    return images, bytes([0, 0, 8, 1, 0, 0, 0, 6]) + bytes([0, 1] * 3)


def _run_files() -> tuple[dict[str, bytes], Any]:
    """The files of a run of few steps, and a training state that its checkpoint fits; made once a process."""
    global _RUN
    if _RUN is None:
        from rung.data import load
        from rung.pipeline import train
        from rung.runs import Run
        from rung.training.checkpoint import save_checkpoint
        from rung.training.session import new_state
        from rung.training.weights import recipe_of

        use_tiny_networks()
        path = WORK / "whole"
        train(_npz(), epochs=2, out=path, threads=1, precision="float32")
        run = Run(path)
        dataset = load(_npz())
        state = new_state(recipe_of(run), dataset, "cpu", 0)  # type: ignore[arg-type]
        state.keep_if_best(0.5)
        state.step = 4
        save_checkpoint(path / "checkpoint", state)
        # Checksums would notice every change before a reader sees it.
        names = [name for name in RUN_FILES if name != "checksums.json" and (path / name).is_file()]
        _RUN = {name: (path / name).read_bytes() for name in names} | {"checksums.json": b"{}"}, state
    return _RUN


_RUN: tuple[dict[str, bytes], Any] | None = None


def _npz() -> Path:
    import numpy as np

    path = WORK / "seed.npz"
    if not path.exists():
        random = np.random.default_rng(0)
        np.savez(path, x=random.integers(0, 256, (60, 8, 8, 1), np.uint8), y=np.arange(60) % 3)
    return path


def seeds(target: str) -> list[bytes]:
    """Small inputs that the target takes."""
    if target == "image":
        return _pictures()
    if target == "idx":
        return [bytes([which]) + content for which, content in enumerate(_idx_files())]
    if target == "npz":
        return [_npz().read_bytes()]
    if target == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        pictures = _pictures()[:6]
        rows = {"img": [{"bytes": each, "path": None} for each in pictures], "label": [0, 1] * 3}
        content = io.BytesIO()
        parquet.write_table(pa.table(rows), content)
        return [content.getvalue()]
    if target == "cifar-binary":
        return [bytes([0, number % 2]) + bytes(3072) for number in range(2)]
    batch = {b"data": bytes(3072), b"labels": [0, 1], b"filenames": [b"a.png"]}
    if target == "cifar-pickle":
        import numpy as np

        batch[b"data"] = np.zeros((2, 3072), np.uint8)
        return [pickle.dumps(batch, protocol) for protocol in range(5)]
    if target == "cifar-archive":
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for name in ("train.bin", "test.bin", "fine_label_names.txt"):
                info = tarfile.TarInfo(f"cifar/{name}")
                info.size = 2 * 3074
                archive.addfile(info, io.BytesIO(bytes(2 * 3074)))
        return [content.getvalue()]
    whole, _ = _run_files()
    return [bytes([number]) + whole[name] for number, name in enumerate(RUN_FILES) if name in whole]


# --- running -------------------------------------------------------------------------------------


def fuzz(target: str, seconds: int) -> None:
    """Run one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["rung.data", "rung.runs", "rung.storage"]):
        import rung.data.preprocessing
        import rung.data.resolve
        import rung.data.restricted_pickle
        import rung.runs
        import rung.storage  # noqa: F401
    corpus = WORK / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds(target)):
        (corpus / str(number)).write_bytes(content)
    function, count, slowest = TARGETS[target], 0, 0.0
    for content in seeds(target):
        function(content)  # Imports are no part of an input's time.
    started = time.monotonic()
    told = started

    def once(data: bytes) -> None:
        nonlocal count, slowest, told
        begin, cpu = time.monotonic(), time.thread_time()
        function(data)
        now = time.monotonic()
        count += 1
        slowest = max(slowest, now - begin)
        if now - begin > SECONDS and time.thread_time() - cpu > SECONDS:
            raise AssertionError(f"an input took {now - begin:.1f} s")
        if now - told > 1.0:
            told = now
            note = {"target": target, "inputs": count, "seconds": round(now - started, 1), "slowest": round(slowest, 3)}
            (FOUND / f"{target}.json").write_text(json.dumps(note))

    FOUND.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEGABYTES + born_with()}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={FOUND}/{target}-",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


def run(target: str, seconds: int) -> dict[str, Any]:
    """Run a target in a process of its own, and note how it went."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, target, "--seconds", str(seconds), "--here"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    note = FOUND / f"{target}.json"
    row: dict[str, Any] = json.loads(note.read_text()) if note.exists() else {"target": target, "inputs": 0}
    note.unlink(missing_ok=True)
    row["passed"] = ended.returncode == 0
    if ended.returncode != 0:
        row["error"] = ended.stderr[-3000:]
    with RESULTS.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: inputs by target, over all runs."""
    lines = ["| reader | inputs | seconds | slowest input | |", "|---|---|---|---|---|"]
    for target in TARGETS:
        chosen = [row for row in rows if row["target"] == target and row["inputs"]]
        if chosen:
            outcome = "passed" if chosen[-1]["passed"] else "FAILED"
            count, seconds = sum(row["inputs"] for row in chosen), sum(row["seconds"] for row in chosen)
            slowest = max(row["slowest"] for row in chosen)
            lines.append(f"| {target} | {count:,} | {seconds:,.0f} | {slowest:.2f} s | {outcome} |")
    lines.append(f"| all | {sum(row['inputs'] for row in rows):,} | | | |")
    return "\n".join(lines)


def born_with() -> int:
    """The peak, in megabytes, that this process is charged with before the first input: Linux hands its parent's on."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // (2**20 if sys.platform == "darwin" else 2**10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*TARGETS, "all", "table"])
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.here:
            fuzz(arguments.target, arguments.seconds)
        if arguments.target != "table":
            for target in TARGETS if arguments.target == "all" else [arguments.target]:
                row = run(target, arguments.seconds)
                print(json.dumps({name: value for name, value in row.items() if name != "error"}), flush=True)
                if not row["passed"]:
                    print(row["error"])
        print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    main()
