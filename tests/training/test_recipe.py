from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.data.batches import Augmentation
from rung.models.fast import FastConfig
from rung.training.recipe import Recipe

numbers = st.floats(0, 10, allow_nan=False)
recipes = st.builds(
    Recipe,
    network=st.builds(
        FastConfig,
        stages=st.lists(st.lists(st.integers(1, 512), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4).map(
            tuple
        ),
        stem_size=st.integers(1, 5),
        shortcuts=st.booleans(),
    ),
    batch_size=st.integers(1, 2000),
    filter_rate=numbers,
    weight_decay=numbers,
    label_smoothing=st.floats(0, 1),
    pruning=st.floats(0, 0.6),
    augmentation=st.builds(Augmentation, st.booleans(), st.integers(0, 8), st.integers(0, 16)),
    views=st.sampled_from([1, 2, 6]),
)


@given(recipes)
def test_json_gives_the_same_recipe_back(recipe: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict(), allow_nan=False))) == recipe


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe) if field.name != "pruning"])
def test_a_missing_value_is_an_error(name: str) -> None:
    values = Recipe(network=FastConfig()).to_dict()
    del values[name]
    with pytest.raises(KeyError):
        Recipe.from_dict(values)


@given(st.floats(0, 0.9), st.floats(0.5, 3))
def test_the_rate_rises_to_its_peak_and_falls_to_zero(warmup: float, decay: float) -> None:
    recipe = Recipe(network=FastConfig(), warmup=warmup, decay=decay)
    places = [step / 100 for step in range(101)]
    rates = [recipe.rate(place) for place in places]
    assert all(0 <= rate <= 1 for rate in rates)
    assert recipe.rate(warmup) == pytest.approx(1)
    assert rates[-1] == 0 == recipe.rate(1.3)
    rising = [rate for place, rate in zip(places, rates, strict=True) if place < warmup]
    falling = [rate for place, rate in zip(places, rates, strict=True) if place >= warmup]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


def test_without_warmup_the_rate_falls_from_the_first_step() -> None:
    recipe = Recipe(network=FastConfig())
    assert [recipe.rate(place) for place in (0, 0.25, 0.5, 1)] == [1, 0.75, 0.5, 0]
