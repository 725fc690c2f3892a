from __future__ import annotations

from collections.abc import Callable

import pytest

from rung.data import Dataset, find_source
from rung.diagnosis.look import look_at
from rung.errors import UsageError
from rung.exploration.survey import survey
from rung.seeds import MOST, check_seed


@pytest.mark.parametrize("seed", [-1, MOST + 1, 2**64])
def test_what_is_no_seed(seed: int, make_dataset: Callable[..., Dataset]) -> None:
    for start in (
        lambda: check_seed(seed),
        lambda: look_at(make_dataset(), seed),
        lambda: survey(find_source("digits"), make_dataset(), seed=seed),
    ):
        with pytest.raises(UsageError, match="0 or more, and below"):
            start()


def test_large_seeds(make_dataset: Callable[..., Dataset]) -> None:
    check_seed(0)
    check_seed(MOST)
    assert survey(find_source("digits"), make_dataset(), seed=MOST).places.shape == (200, 2)
