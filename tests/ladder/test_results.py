from __future__ import annotations

import numpy as np

from rung.evaluation.comparison import paired_difference
from rung.ladder.results import _differences


def rows(*right: int) -> np.ndarray:
    """A row a seed: the first so many of 400 images are right."""
    return np.stack([np.arange(400) < count for count in right])


def test_one_comparison_among_many_has_to_show_more() -> None:
    mine, below = rows(208), rows(200)
    alone = paired_difference(below, mine)
    assert alone.distinguishable and alone.p_value < 0.05
    names = [f"step {number}" for number in range(8)]
    correct = {"below": below, **{name: below if number else mine for number, name in enumerate(names)}}
    found = _differences(correct, dict.fromkeys(names, "below"))
    assert found["step 0"].p_value == min(1.0, 8 * alone.p_value) and found["step 0"].scope == "images"
    assert _differences(correct, {"step 0": "below"})["step 0"].distinguishable
    correct["step 0"] = rows(206)
    assert paired_difference(below, rows(206)).p_value < 0.05
    assert not _differences(correct, dict.fromkeys(names, "below"))["step 0"].distinguishable


def test_the_scope_goes_along_and_what_was_not_measured_is_left_out() -> None:
    correct = {"below": rows(200, 210), "one": rows(215, 220), "two": None}
    found = _differences(correct, {"one": "below", "two": "below"})
    assert list(found) == ["one"] and found["one"].scope == "images and seeds"
