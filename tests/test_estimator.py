from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import rung
from rung import DataError, UsageError
from rung.estimator import ImageClassifier

Pictures = Callable[..., tuple[np.ndarray, np.ndarray]]
NAMES = np.array(["zebra", "ape", "mole"])


@pytest.fixture(scope="module")
def data(pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (150, 8, 8, 1) and int64 (150,)."""
    return pictures(150, 3, noise=25.0)


@pytest.fixture(scope="module")
def fitted(data: tuple[np.ndarray, np.ndarray]) -> ImageClassifier:
    return ImageClassifier(epochs=6, threads=1).fit(data[0][:100], data[1][:100])


def quick(**options: object) -> ImageClassifier:
    return ImageClassifier(**{"epochs": 1, "threads": 1, "precision": "float32", **options})


# --- scikit-learn's conventions ------------------------------------------------------------------


def test_it_is_part_of_the_public_interface() -> None:
    assert rung.ImageClassifier is ImageClassifier
    assert is_classifier(ImageClassifier())


def test_parameters_are_stored_as_given_and_cloned() -> None:
    options = {"budget": "10s", "validation_fraction": 0.2, "threads": 1, "random_state": 7}
    classifier = ImageClassifier(**options)
    parameters = classifier.get_params()
    assert {name: parameters[name] for name in options} == options
    assert clone(classifier).get_params() == parameters
    assert classifier.set_params(budget="3s").budget == "3s"
    assert repr(ImageClassifier()) == "ImageClassifier()"


def test_what_fit_learns(fitted: ImageClassifier) -> None:
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_features_in_ == 64
    assert fitted.image_shape_ == (8, 8, 1)
    assert fitted.history_[-1].epoch == pytest.approx(6, abs=0.5)
    assert 0 <= fitted.validation_score_ <= 1
    assert fitted.plan_.epochs == 6


def test_it_predicts(fitted: ImageClassifier, data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data[0][100:], data[1][100:]
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (50, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    predictions = fitted.predict(images)
    assert (predictions == fitted.classes_[probabilities.argmax(1)]).all()
    assert fitted.score(images, labels) == (predictions == labels).mean() > 0.9


def test_before_fit() -> None:
    with pytest.raises(NotFittedError):
        ImageClassifier().predict(np.zeros((2, 8, 8)))


def test_labels_of_any_kind(data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data
    classifier = quick(epochs=4).fit(images, NAMES[labels])
    assert classifier.classes_.tolist() == ["ape", "mole", "zebra"]
    assert classifier.score(images, NAMES[labels]) > 0.8
    assert classifier.predict(images[:3]).dtype.kind == "U"
    booleans = quick().fit(images, labels > 0)
    assert booleans.classes_.tolist() == [False, True]


def test_cross_validation_and_grid_search(data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data
    scores = cross_val_score(quick(epochs=3), images, labels, cv=2)
    assert scores.shape == (2,) and scores.min() > 0.6
    pipeline = make_pipeline(FunctionTransformer(lambda X: X.reshape(-1, 8, 8)), quick())
    search = GridSearchCV(pipeline, {"imageclassifier__epochs": [0.5, 3]}, cv=2)
    search.fit(images.reshape(len(images), -1), labels)
    assert search.best_params_ == {"imageclassifier__epochs": 3}
    assert search.predict(images.reshape(len(images), -1)).shape == (150,)


def test_a_fitted_classifier_survives_pickling(fitted: ImageClassifier, data: tuple[np.ndarray, np.ndarray]) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(data[0]), fitted.predict_proba(data[0]))


def test_the_same_random_state_gives_the_same_answers(data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data
    one, same, other = (quick(random_state=state).fit(images, labels).predict_proba(images) for state in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    generators = [quick(random_state=np.random.RandomState(1)).fit(images, labels) for _ in range(2)]
    np.testing.assert_array_equal(*(classifier.predict_proba(images) for classifier in generators))
    quick(random_state=None).fit(images, labels)


def test_fitting_again_forgets(data: tuple[np.ndarray, np.ndarray]) -> None:
    classifier = quick().fit(*data)
    colour = np.repeat(data[0], 3, axis=3)
    classifier.fit(colour[:, :, :6], data[1])
    assert classifier.image_shape_ == (8, 6, 3)
    assert classifier.n_features_in_ == 8 * 6 * 3


# --- images --------------------------------------------------------------------------------------


def test_layouts_and_ranges_give_the_same_answers(data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data
    variants = [
        images,
        images[..., 0],
        images.transpose(0, 3, 1, 2),
        images.astype(np.float64),
        images / 255,
        images.astype(np.int32),
        images[..., 0].tolist(),
    ]
    found = [quick().fit(values, labels).predict_proba(values) for values in variants]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_the_range_is_decided_when_fitting(data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data
    classifier = quick(epochs=3).fit(images.astype(np.float32), labels)
    dark = np.clip(images[:20].astype(np.float32), 0, 1)  # could be taken for 0..1
    np.testing.assert_array_equal(classifier.predict_proba(dark), classifier.predict_proba(dark.astype(np.uint8)))
    small = quick(epochs=3).fit(images / 255, labels)
    np.testing.assert_array_equal(small.predict_proba(images / 255), small.predict_proba(images))
    with pytest.raises(DataError, match="fitted to pixels from 0 to 1"):
        small.predict(images.astype(float))
    with pytest.raises(DataError, match="fitted to pixels from 0 to 255"):
        classifier.predict(-images.astype(float))


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (28, 28)])
def test_other_sizes(pictures: Pictures, size: tuple[int, int]) -> None:
    images, labels = pictures(40, 2, size=size, channels=3)
    assert quick().fit(images, labels).predict(images).shape == (40,)


# --- a budget ------------------------------------------------------------------------------------


def test_a_budget_is_kept(data: tuple[np.ndarray, np.ndarray]) -> None:
    quick().fit(*data)  # Imports are not the budget's business here.
    start = time.monotonic()
    # Enough for a computer that is busy with other things to start within.
    classifier = ImageClassifier(budget=8.0, threads=1).fit(*data)
    seconds = time.monotonic() - start
    assert 6 < seconds < 12
    assert classifier.score(*data) > 0.95
    assert len(classifier.history_) <= 200


def test_threads_are_given_back(data: tuple[np.ndarray, np.ndarray]) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        quick(threads=1).fit(*data).predict(data[0][:2])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_progress_is_shown_on_request(data: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]) -> None:
    quick().fit(*data)
    assert capsys.readouterr() == ("", "")
    quick(verbose=True).fit(*data)
    shown = capsys.readouterr()
    assert shown.out == "" and "Plan:" in shown.err and "epoch" in shown.err


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "soon", "epochs": None}, "not a length of time"),
        ({"budget": 3}, "contradict"),
        ({"epochs": -1}, "above 0"),
        ({"validation_fraction": 1.5}, "above 0 and below 1"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"precision": "int8"}, "float32 or bfloat16"),
        ({"threads": 0}, "at least 1"),
        ({"max_memory": 1}, "too small"),
        ({"budget": 1e-3, "epochs": None}, "no time for a single training step"),
    ],
)
def test_bad_arguments(data: tuple[np.ndarray, np.ndarray], options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        quick(**options).fit(*data)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:-1], y), "149 images, but y has 150 labels"),
        (lambda X, y: (X.reshape(150, -1), y), "reshape it"),
        (lambda X, y: (X, np.zeros(150, int)), "one class only"),
        (lambda X, y: (X, np.r_[9, y[1:]]), "too few images of 9"),
        (lambda X, y: (X - 300.0, y), "scale them"),
        (lambda X, y: (np.where(X.max() == X, np.nan, X), y), "NaN or infinite"),
        (lambda X, y: (X.astype(str), y), "images of the type"),
        (lambda X, y: (X, y + 0.5), "Unknown label type"),
        (lambda X, y: (X, np.eye(3)[y]), "y should be a 1d array"),
        (lambda X, y: (X[:0], y[:0]), "no images"),
    ],
)
def test_bad_data(
    data: tuple[np.ndarray, np.ndarray],
    change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        quick().fit(*change(*data))


def test_images_of_another_size(fitted: ImageClassifier) -> None:
    with pytest.raises(DataError, match=r"fitted to \(8, 8, 1\)"):
        fitted.predict(np.zeros((2, 9, 8), np.uint8))
    with pytest.raises(DataError, match="no images"):
        fitted.predict(np.zeros((0, 8, 8), np.uint8))


def test_a_rung_of_the_ladder(pictures: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    X, y = pictures(90, 3)
    classifier = ImageClassifier(epochs=6, rung="batchnorm", threads=1).fit(X, y)
    assert classifier.plan_.recipe.optimizer == "adam" and classifier.plan_.expected_accuracy is None
    assert classifier.predict(X).shape == (90,)
    with pytest.raises(UsageError, match="there is no rung 'top'"):
        ImageClassifier(epochs=1, rung="top", threads=1).fit(X, y)


def test_a_fit_that_fails_leaves_the_one_before(data: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = data
    classifier = ImageClassifier(epochs=0.1).fit(images, labels)
    before = classifier.predict(images)
    with pytest.raises(UsageError):
        classifier.set_params(epochs=None, budget=1e-3).fit(np.repeat(images, 2, axis=1) / 255.0, labels > 0)
    np.testing.assert_array_equal(classifier.predict(images), before)
    assert classifier.image_shape_ == (8, 8, 1)
