from __future__ import annotations

import numpy as np

from rung.data.source import summarise


def test_a_summary_of_mixed_sizes() -> None:
    labels = {"test": np.array([0, 1]), "train": np.array([0, 1, 1])}
    summary = summarise(labels, ("a", "b"), [(10, 20), (30, 5), (14, 8)], channels=3)
    assert summary.images == {"train": 3, "test": 2}
    assert list(summary.images) == ["train", "test"]
    assert summary.total == 5
    assert summary.class_counts == (1, 2)
    assert summary.uniform_size is None
    assert (summary.min_size, summary.median_size, summary.max_size) == ((10, 5), (14, 8), (30, 20))
    assert summary.headers_read == 3


def test_a_summary_of_one_size() -> None:
    summary = summarise({"train": np.array([0, 1])}, ("a", "b"), [(8, 6)], channels=1)
    assert summary.uniform_size == summary.median_size == (8, 6)
