"""Cross-validation of heads on features where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rung.errors import UsageError
from rung.evaluation.folds import _each_class_first, estimate
from rung.training.features import Features


def _features(images: int, noise: float, classes: int = 4) -> Features:
    random = np.random.default_rng(0)
    labels = np.arange(images) % classes
    rows = np.eye(classes)[labels] + noise * random.normal(size=(1, images, classes))
    return Features(torch.from_numpy(rows).float(), torch.from_numpy(labels))


def test_what_can_be_learnt_is_right_and_noise_is_chance() -> None:
    easy, noise = estimate(_features(60, 0.05), 4, (4,), 5, 0), estimate(_features(60, 50.0), 4, (4,), 5, 0)
    assert easy.accuracy == 1
    assert easy.interval[0] > 0.9 and easy.doubled.interval[1] == pytest.approx(1, abs=0.02)
    assert noise.interval[0] < 0.25 < noise.interval[1]
    assert len(easy.by_fold) == easy.folds == 5
    assert [size for size, _ in easy.curve] == [6, 12, 24, 48]
    assert "5 folds of all 60 images" in easy.lines()[0]


def test_there_are_no_more_folds_than_images_of_a_class() -> None:
    assert estimate(_features(12, 0.1), 4, (4,), 10, 0).folds == 3
    with pytest.raises(UsageError, match="two images of each class"):
        estimate(_features(4, 0.1), 4, (4,), 5, 0)


def test_a_part_has_every_class() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2])
    assert set(labels[_each_class_first(np.arange(21), labels, 3)]) == {0, 1, 2}
