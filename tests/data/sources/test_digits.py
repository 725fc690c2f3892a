from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from rung.data import find_source, load
from rung.data.sources import digits


def test_digits_are_scikit_learns() -> None:
    dataset = load("digits")
    images, labels = load_digits(return_X_y=True)
    assert np.array_equal(dataset.train.images[..., 0], np.round(images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8))
    for split in dataset.splits:
        assert np.array_equal(split.labels, labels[split.rows])
    assert dataset.classes == tuple("0123456789")
    assert dataset.image_size == (8, 8) and dataset.channels == 1
    assert [len(split) for split in dataset.splits] == [1294, 144, 359]


def test_the_summary() -> None:
    summary = find_source("digits").summary
    assert summary.total == 1797
    assert summary.uniform_size == (8, 8)
    assert summary.channels == 1


def test_without_the_file_scikit_learn_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = digits._table()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert np.array_equal(digits._table(), expected)


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys, rung.data\n"
        "early = {'PIL', 'pyarrow', 'pooch', 'sklearn', 'torch'} & set(sys.modules)\n"
        "rung.data.load('digits')\n"
        "late = {'sklearn.datasets', 'pyarrow', 'pooch', 'torch'} & set(sys.modules)\n"
        "assert not early | late, (early, late)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
