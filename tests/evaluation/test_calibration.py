import numpy as np
import pytest

from rung.evaluation.calibration import expected_calibration_error, fit_temperature, reliability_bins


def test_bins_are_open_below_and_closed_above():
    confidence = np.array([0.0, 0.2, 0.2000001, 1.0])
    bins = reliability_bins(confidence, np.array([True, True, False, True]), bins=5)
    assert [b.count for b in bins] == [2, 1, 0, 0, 1]
    assert bins[0].accuracy == 1.0 and bins[1].accuracy == 0.0
    assert (bins[0].lower, bins[-1].upper) == (0.0, 1.0)


def test_error_by_hand():
    # Four at 0.75 of which half are right, six at 0.95 of which all are: 0.4 * 0.25 + 0.6 * 0.05.
    confidence = np.array([0.75] * 4 + [0.95] * 6)
    correct = np.array([True, True, False, False] + [True] * 6)
    assert expected_calibration_error(reliability_bins(confidence, correct)) == pytest.approx(0.13)


def test_a_calibrated_model_has_almost_no_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1.0, 100_000)
    correct = rng.uniform(size=confidence.size) < confidence
    assert expected_calibration_error(reliability_bins(confidence, correct)) < 0.01


def test_nothing_is_perfectly_calibrated():
    assert expected_calibration_error(reliability_bins(np.zeros(0), np.zeros(0, bool))) == 0.0


def test_lengths_must_agree():
    with pytest.raises(ValueError):
        reliability_bins(np.zeros(3), np.zeros(2, bool))


def test_temperature_is_found_again():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 5))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([random.choice(5, p=row) for row in true])
    for temperature in (0.5, 1.0, 3.0):
        flawed = np.exp(logits * temperature)
        flawed /= flawed.sum(1, keepdims=True)
        assert fit_temperature(flawed, labels) == pytest.approx(temperature, rel=0.05)


def test_temperature_stays_in_bounds_when_every_answer_is_right():
    sure = np.full((10, 2), 1e-9)
    sure[:, 0] = 1
    assert 0.05 <= fit_temperature(sure, np.zeros(10, np.int64)) <= 20


@pytest.mark.parametrize(("images", "confidence"), [(8, 0.9), (140, 0.99)])
def test_a_few_right_answers_do_not_make_certain(images, confidence):
    right = np.full((images, 2), 0.3)
    right[:, 0] = 0.7
    temperature = fit_temperature(right, np.zeros(images, np.int64))
    sure = 1 / (1 + (0.3 / 0.7) ** (1 / temperature))
    # As often right as by the rule of succession, half of the doubt falling on the other class.
    assert sure == pytest.approx(1 - 0.5 / (images + 2), abs=0.01)
    assert sure > confidence
