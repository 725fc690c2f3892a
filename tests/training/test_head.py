"""A linear layer on features, against scikit-learn's and on features where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from rung.training.features import Features
from rung.training.head import STRENGTHS, choose_strength, fit_head, fit_with, folds


def _features(images: int, width: int, classes: int, noise: float, sides: int = 1, seed: int = 0) -> Features:
    random = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width))
    rows = centres[labels] + noise * random.normal(size=(sides, images, width))
    return Features(torch.from_numpy(rows).float(), torch.from_numpy(labels))


@pytest.mark.parametrize("width", [12, 200])
def test_it_is_the_logistic_regression_of_scikit_learn(width: int) -> None:
    features = _features(90, width, 3, 2.0)
    head = fit_with(features, 3, (width,), (1.0,))[0]
    rows, labels = features.to_learn()
    inputs = (rows - rows.mean(0)) / (rows.std(0) + 1e-3) / width**0.5
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(inputs.numpy(), labels.numpy())
    np.testing.assert_allclose(head.logits(rows).softmax(1).numpy(), theirs.predict_proba(inputs.numpy()), atol=2e-3)


def test_strength_follows_the_noise() -> None:
    clean = choose_strength(_features(200, 20, 4, 0.2), 4, (20,), 0)
    noisy = choose_strength(_features(200, 20, 4, 8.0), 4, (20,), 0)
    assert noisy == STRENGTHS[0] < clean


def test_a_single_image_a_class_is_enough_to_fit() -> None:
    features = _features(4, 30, 4, 0.1)
    head = fit_head(features, 4, (10, 20), 0)
    assert head.strength == 1.0
    assert (head.logits(features.to_predict()).argmax(1) == features.labels).all()


def test_both_sides_are_learnt_from_and_averaged_to_predict() -> None:
    features = _features(40, 8, 4, 0.5, sides=2)
    rows, labels = features.to_learn()
    assert rows.shape == (80, 8)
    assert torch.equal(labels, torch.cat([features.labels, features.labels]))
    torch.testing.assert_close(features.to_predict(), features.sides.mean(0))


def test_folds_hold_every_image_once_and_every_class_evenly() -> None:
    labels = np.array([0] * 11 + [1] * 7 + [2] * 30)
    parts = folds(labels, 5, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(48))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for part in parts:
        assert 1 <= (labels[part] == 1).sum() <= 2
    assert len(folds(np.array([0, 0, 0, 1, 1]), 5, 0)) == 2
