import json
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference

from rung.evaluation import metrics
from rung.evaluation.result import Evaluation

GIVEN = {
    "train_accuracy": 0.9,
    "val_accuracy": 0.8,
    "val_images": 100,
    "seconds": 5.0,
    "wall_seconds": 9.0,
    "images_per_second": 700.0,
}


def predictions(images=600, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) + 2.0 * np.eye(classes)[labels]
    exp = np.exp(logits)
    return (exp / exp.sum(1, keepdims=True)).astype(np.float32), labels.astype(np.int64)


def evaluate(probabilities, labels, **changes):
    names = [f"class {k}" for k in range(probabilities.shape[1])]
    return metrics.evaluate(probabilities, labels, names, **(GIVEN | changes))


@pytest.mark.parametrize("classes", [2, 5, 6, 40])
def test_agrees_with_scikit_learn(classes, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK", 1_000)  # many blocks, the last one short
    probabilities, labels = predictions(classes=classes)
    got = evaluate(probabilities, labels)
    predicted = probabilities.argmax(1)
    assert got.accuracy == reference.accuracy_score(labels, predicted)
    for average in ("macro", "weighted"):
        known = reference.precision_recall_fscore_support(labels, predicted, average=average, zero_division=0)
        scores = [getattr(got, f"{average}_{name}") for name in ("precision", "recall", "f1")]
        assert scores == pytest.approx(known[:3])
    assert np.array_equal(got.confusion_matrix, reference.confusion_matrix(labels, predicted))
    assert got.log_loss == pytest.approx(reference.log_loss(labels, probabilities), rel=1e-5)
    if classes > 5:
        assert got.top5_accuracy == reference.top_k_accuracy_score(labels, probabilities, k=5)
    else:
        assert got.top5_accuracy is None


def test_what_is_passed_through_and_the_intervals():
    probabilities, labels = predictions()
    got = evaluate(probabilities, labels)
    assert (got.train_accuracy, got.val_accuracy, got.seconds, got.wall_seconds) == (0.9, 0.8, 5.0, 9.0)
    assert got.images_per_second == 700.0 and got.test_images == 600
    low, high = got.accuracy_interval
    assert low < got.accuracy < high
    assert got.val_accuracy_interval == pytest.approx((0.7111, 0.8667), abs=1e-3)
    assert sum(b.count for b in got.reliability) == 600 and len(got.reliability) == 15


def test_a_class_never_seen_or_never_predicted():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.eye(4, dtype=np.float32)[[0, 0, 0, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = evaluate(probabilities, labels)
    assert [row.precision for row in got.per_class] == [0.5, 0.0, 0.0, 0.0]
    assert [row.support for row in got.per_class] == [2, 2, 0, 0]
    assert got.macro_recall == 0.5  # over the two classes that occur
    assert np.isfinite(got.log_loss)


def test_survives_json():
    got = evaluate(*predictions())
    assert Evaluation.from_dict(json.loads(json.dumps(got.to_dict(), allow_nan=False))) == got


@pytest.mark.parametrize(
    "probabilities, labels",
    [
        (np.zeros((0, 3), np.float32), np.zeros(0, np.int64)),
        (np.ones((2, 3), np.float32) / 3, np.zeros(3, np.int64)),
        (np.ones((2, 3), np.float32) / 3, np.array([0, 3])),
        (np.ones((2, 3), np.float32) / 3, np.array([0, -1])),
        (np.full((2, 3), np.nan, np.float32), np.array([0, 1])),
        (np.ones((2, 1), np.float32), np.array([0, 0])),
        (np.ones(3, np.float32), np.array([0, 0, 0])),
    ],
)
def test_refuses_what_makes_no_sense(probabilities, labels):
    with pytest.raises(ValueError):
        metrics.evaluate(probabilities, labels, ["a", "b", "c"][: probabilities.shape[-1]], **GIVEN)
