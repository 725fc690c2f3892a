from __future__ import annotations

from typing import Any

import pytest

from rung.data.batches import Augmentation
from rung.errors import UsageError
from rung.models.fast import FastConfig
from rung.models.ladder import NaiveConfig, StagesConfig
from rung.training.adjustments import Adjustments, widened
from rung.training.recipe import Recipe

RECIPE = Recipe(network=FastConfig(stages=((8,), (12, 12))), augmentation=Augmentation(translate=2))


def test_nothing_asked_changes_nothing() -> None:
    assert not Adjustments()
    assert Adjustments().apply(RECIPE, (32, 32)) == RECIPE


def test_every_rate_is_scaled() -> None:
    changed = Adjustments(rate_scale=0.5).apply(RECIPE, (32, 32))
    for name in ("adam_rate", "filter_rate", "bias_rate", "head_rate"):
        assert getattr(changed, name) == 0.5 * getattr(RECIPE, name)


def test_batch_and_variation() -> None:
    changed = Adjustments(batch_size=7, augment="strong").apply(RECIPE, (32, 32))
    assert changed.batch_size == 7
    assert changed.augmentation == Augmentation(translate=4, cutout=8)
    assert Adjustments(augment="none").apply(RECIPE, (32, 32)).augmentation == Augmentation(False, 0, 0)


def test_wider_networks() -> None:
    assert widened(RECIPE.network, 2) == FastConfig(stages=((16,), (24, 24)))
    assert widened(NaiveConfig(32, 128), 0.5) == NaiveConfig(16, 64)
    assert widened(StagesConfig(((8,), (12, 12)), dropout=0.3), 2).stages == ((16,), (24, 24))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "values",
    [{"rate_scale": 0.0}, {"rate_scale": float("nan")}, {"batch_size": 0}, {"augment": "wild"}, {"width": 99.0}],
)
def test_values_that_make_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must"):
        Adjustments(**values)


def test_what_was_asked_in_words() -> None:
    assert str(Adjustments(rate_scale=0.1, augment="strong")) == "rate scale 0.1, augment strong"
