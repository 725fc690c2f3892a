import numpy as np
import pytest

from rung.evaluation.metrics import evaluate
from rung.report import verdict


def evaluated(matrix, confidence=0.9, train=0.8, val=0.8):
    """The evaluation of a model that confuses as ``matrix`` says and is always equally sure."""
    matrix = np.asarray(matrix)
    true, said = (np.repeat(axis.ravel(), matrix.ravel()) for axis in np.indices(matrix.shape))
    count = len(matrix)
    probabilities = np.full((len(true), count), (1 - confidence) / (count - 1), np.float32)
    probabilities[np.arange(len(true)), said] = confidence
    return evaluate(
        probabilities,
        true,
        [f"k{k}" for k in range(count)],
        train_accuracy=train,
        val_accuracy=val,
        val_images=100,
        seconds=1,
        wall_seconds=1,
        images_per_second=1,
    )


GOOD = [[95, 3, 2], [1, 90, 9], [0, 15, 85]]


def test_names_the_best_and_the_worst_class_and_what_it_is_taken_for():
    first, _ = verdict.verdict(evaluated(GOOD))
    assert "90 in 100" in first
    assert "strongest at “k0” (95" in first and "weakest at “k2” (85" in first and "mistakes for “k1”" in first


def test_never_claims_more_than_was_seen():
    matrix = np.diag([500, 500])
    matrix[0, 1] = 1
    assert "999 in 1,000" in verdict.verdict(evaluated(matrix))[0]
    assert "Every one of the 200" in verdict.verdict(evaluated(np.diag([100, 100])))[0]


def test_says_when_the_majority_class_does_as_well():
    first, _ = verdict.verdict(evaluated([[90, 0], [10, 0]]))
    assert "not measurably better" in first and "“k0”" in first


@pytest.mark.parametrize(
    "train, val, words",
    [
        (0.99, 0.75, "It overfits (99.0"),
        (0.88, 0.80, "overfits a little"),
        (0.82, 0.80, "does not overfit"),
        (0.78, 0.80, "not begun to overfit"),
        (0.995, 0.99, "as well on new images"),
    ],
)
def test_names_the_gap(train, val, words):
    assert words in verdict.verdict(evaluated(GOOD, train=train, val=val))[1].replace("\u202f", " ")


@pytest.mark.parametrize(
    "confidence, words",
    [(0.9, "at its word"), (0.99, "surer than it should be, by 9.0"), (0.8, "more often than it says")],
)
def test_names_the_calibration(confidence, words):
    assert words in verdict.verdict(evaluated(GOOD, confidence))[1]


def test_is_two_sentences():
    for matrix in (GOOD, np.diag([50, 50]), [[90, 0], [10, 0]]):
        sentences = verdict.verdict(evaluated(matrix))
        assert len(sentences) == 2 and all(s.endswith(".") and ". " not in s for s in sentences)


def test_does_not_contradict_the_diagnosis():
    evaluation = evaluated(GOOD, train=0.97, val=0.93)
    assert "does not overfit" in verdict.verdict(evaluation)[1]
    assert "overfits a little" in verdict.verdict(evaluation, {}, {"overfitting"})[1]


def test_a_head_alone_is_not_told_to_vary_its_images():
    evaluation = evaluated(GOOD, train=0.99, val=0.75)
    assert "stronger augmentation" in verdict.verdict(evaluation, {"network": {"learns": "all"}})[1]
    assert "augmentation" not in verdict.verdict(evaluation, {"network": {"learns": "head"}})[1]
