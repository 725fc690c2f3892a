from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rung.data.dataset import Dataset
from rung.diagnosis.out_of_fold import _fold_of, out_of_fold
from rung.errors import UsageError
from rung.training.device import choose_device, measure_machine


def test_unseen_images_are_predicted_and_wrong_labels_stand_out(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(240, noise=20.0)
    labels = dataset.train.labels.copy()
    labels[:12] = (labels[:12] + 1) % 3
    dataset = replace(dataset, train=replace(dataset.train, labels=labels))
    found = out_of_fold(dataset, 8.0, machine=measure_machine(choose_device("cpu"), "float32"))
    assert found.probabilities.shape == (320, 3)
    assert found.probabilities.sum(1) == pytest.approx(np.ones(320), abs=1e-4)
    assert found.labels.tolist() == [*labels.tolist(), *dataset.val.labels.tolist()]
    assert found.accuracy > 0.85
    wrong = found.probabilities[np.arange(12), labels[:12]]
    assert np.median(wrong) < 0.2
    assert found.positions(np.array([0, 239, 240, 319])) == [("train", 0), ("train", 239), ("val", 0), ("val", 79)]
    assert 2 <= found.folds <= 5
    assert found.seconds < 12


def test_every_class_is_in_every_part() -> None:
    labels = np.repeat(np.arange(7), 11)
    parts = _fold_of(labels, 3, 0)
    table = np.stack([np.bincount(labels[parts == k], minlength=7) for k in range(3)])
    assert table.min() >= 3
    assert (_fold_of(labels, 3, 0) == parts).all()
    assert (_fold_of(labels, 3, 1) != parts).any()


def test_what_cannot_be_asked(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(60)
    machine = measure_machine(choose_device("cpu"), "float32")
    with pytest.raises(UsageError, match="no time for a single training step"):
        out_of_fold(dataset, 0.01, machine=machine)
    train, val = dataset.train, dataset.val
    alone = replace(
        dataset, train=train.subset(np.flatnonzero(train.labels < 2)), val=val.subset(np.flatnonzero(val.labels < 2))
    )
    with pytest.raises(UsageError, match="a single image"):
        out_of_fold(alone, 5.0, machine=machine)
