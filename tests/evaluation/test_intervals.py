import numpy as np
import pytest
from scipy.stats import binomtest

from rung.evaluation.intervals import wilson


@pytest.mark.parametrize(
    "successes, trials", [(0, 1), (1, 1), (0, 20), (20, 20), (81, 263), (9_213, 10_000), (355, 360)]
)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_agrees_with_scipy(successes, trials, confidence):
    known = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert wilson(successes, trials, confidence) == pytest.approx((known.low, known.high), abs=1e-12)


def test_published_example():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for (successes, trials), ends in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson(successes, trials) == pytest.approx(ends, abs=5e-5)


def test_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for truth in (0.5, 0.9, 0.98):
        hits = [low <= truth <= high for low, high in (wilson(int(k), 360) for k in rng.binomial(360, truth, 4_000))]
        assert 0.925 < np.mean(hits) < 0.975


def test_no_trials_tell_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("arguments", [(-1, 10), (11, 10), (1, 10, 0.0), (1, 10, 1.0), (0, -1)])
def test_refuses_nonsense(arguments):
    with pytest.raises(ValueError):
        wilson(*arguments)
