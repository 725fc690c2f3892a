"""A short version of ``benchmarks/faults.py``: trainings and climbs, killed at random moments, resumed, compared."""

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
@pytest.mark.parametrize(("job", "trials", "epochs"), [("train", 12, 6), ("climb", 3, 2)])
def test_what_was_killed_ends_with_the_same_weights(tmp_path: Path, job: str, trials: int, epochs: int) -> None:
    results = tmp_path / "results.jsonl"
    numbers = ["--trials", str(trials), "--epochs", str(epochs), "--results", str(results)]
    command = [sys.executable, str(FAULTS), "run", "--job", job, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(rows) == trials
    # Something must have happened to them.
    assert sum(len(row["endings"]) > 1 for row in rows) >= trials / 2
    assert {"killed", "refused"} <= {ending for row in rows for ending in row["endings"]}
