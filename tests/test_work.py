"""No more work than recorded: ``benchmarks/work.py``, which counts what slowdowns are made of."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

PINNED = "2.13."


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    from benchmarks import work

    return work


@pytest.mark.skipif(not torch.__version__.startswith(PINNED), reason=f"counted with torch {PINNED}x")
def test_training_and_plans_are_no_more_work_than_recorded(work: Any) -> None:
    recorded = json.loads(work.RESULTS.read_text())
    found = work.counted()
    assert work.complaints(found, recorded) == [], "if this is meant, run python benchmarks/work.py write"
    # It would have been seen.
    more = copy.deepcopy(found)
    more["steps"]["residual"]["bytes"] *= 1.1
    more["plans"]["60 s, slow"]["images"] *= 0.8
    assert len(work.complaints(more, recorded)) == 2
