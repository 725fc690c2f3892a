"""A short version of ``benchmarks/fuzz.py``: a moment of every target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
TARGETS = ["image", "idx", "npz", "parquet", "cifar-archive", "cifar-binary", "cifar-pickle", "run-folder"]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_no_reader_falls_over_damaged_files(target: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris, the fuzzing engine, is not installed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RUNG_FUZZ_RESULTS": str(tmp_path)}
    command = [sys.executable, str(FUZZ), target, "--seconds", "2", "--here"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads((tmp_path / f"{target}.json").read_text())["inputs"] > 20
