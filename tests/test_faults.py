"""A short version of ``benchmarks/faults.py``: trainings that are killed at random moments, resumed, and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parents[1] / "benchmarks" / "faults.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials are forks")
def test_killed_trainings_end_with_the_same_weights(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = [sys.executable, str(FAULTS), "run", "--trials", "12", "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(rows) == 12
    # Something must have happened to them.
    assert sum(len(row["endings"]) > 1 for row in rows) >= 6
    assert {"killed", "refused"} <= {ending for row in rows for ending in row["endings"]}
