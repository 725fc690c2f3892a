"""Forecasts from power laws that are known, with the noise of few images."""

from __future__ import annotations

import numpy as np
import pytest

from rung.evaluation.learning_curve import forecast

SIZES = (25, 50, 100, 200)


def test_a_power_law_is_continued() -> None:
    errors = [0.4 * (size / 200) ** -0.25 for size in SIZES]
    found = forecast(SIZES, errors, judged=10**6, images=400, tested=10**6)
    assert found.accuracy == pytest.approx(1 - 0.4 * 2**-0.25, abs=1e-3)
    assert found.interval[0] < found.accuracy < found.interval[1]


def test_nine_of_ten_measurements_lie_in_the_interval() -> None:
    random = np.random.default_rng(0)
    hits, repeats = 0, 600
    for _ in range(repeats):
        slope, judged = random.uniform(0.1, 0.4), 250
        true = [0.3 * (size / 200) ** -slope for size in (*SIZES, 400)]
        # The same unseen images are hard or easy for all points.
        hardness = random.random(judged)
        errors = [float((hardness < share).mean()) for share in true[:-1]]
        low, high = forecast(SIZES, errors, judged, 400, tested=judged).interval
        hits += low <= 1 - random.binomial(judged, true[-1]) / judged <= high
    assert 0.85 <= hits / repeats <= 0.99


@pytest.mark.parametrize("errors", [(0.0,) * 4, (1.0,) * 4, (0.1, 0.2, 0.3, 0.4)])
def test_accuracies_that_no_law_fits_give_a_forecast_all_the_same(errors: tuple[float, ...]) -> None:
    found = forecast(SIZES, errors, judged=40, images=400, tested=40)
    assert 0 <= found.interval[0] <= found.accuracy <= found.interval[1] <= 1
    assert found.accuracy >= 1 - errors[-1] - 0.1


def test_a_single_point_is_enough() -> None:
    assert forecast([50], [0.4], 60, 120, 60).accuracy > 0.6
