from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rung.data.batches import Passes
from rung.training.checkpoint import load_checkpoint, save_checkpoint
from rung.training.clocks import StepClock
from rung.training.loop import TrainingState
from rung.training.plan import IMAGES_FOR_A_PASS, PRUNED_PASSES, PRUNING, choose_pruning
from rung.training.pruning import EASY, kept_images
from rung.training.recipe import Recipe

Fresh = Callable[..., TrainingState]
Run = Callable[..., Any]


@pytest.fixture
def pruned(recipe: Recipe) -> Recipe:
    return replace(recipe, pruning=0.35)


# --- which images --------------------------------------------------------------------------------


def test_a_random_part_of_the_easy_ones_is_left_out() -> None:
    losses = np.arange(1000, dtype=np.float32)
    seen = np.zeros(1000, int)
    for seed in range(40):
        kept = kept_images(losses, 0.3, np.random.default_rng(seed))
        assert len(kept) == 700
        assert np.all(np.diff(kept) > 0)
        seen[kept] += 1
    easy = int(EASY * 1000)
    assert np.all(seen[easy:] == 40)
    assert np.all(seen[:easy] > 0)
    assert seen[:easy].mean() == pytest.approx(40 * (1 - 300 / easy))


def test_images_without_a_loss_are_kept() -> None:
    losses = np.full(10, np.nan, np.float32)
    assert kept_images(losses, 0.5, np.random.default_rng(0)).tolist() == list(range(10))
    losses[3] = 0.1
    assert kept_images(losses, 0.5, np.random.default_rng(0)).tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("passes", "images", "share"),
    [
        (PRUNED_PASSES, 20_000, PRUNING),
        (PRUNED_PASSES - 0.1, 20_000, 0.0),
        (10.0, 10 * IMAGES_FOR_A_PASS, PRUNING),
        (10.0, 10 * IMAGES_FOR_A_PASS - 1, 0.0),
    ],
)
def test_later_passes_over_many_images_leave_some_out(passes: float, images: int, share: float) -> None:
    assert choose_pruning(passes, images) == share


def test_a_recipe_of_before_has_none(recipe: Recipe) -> None:
    values = recipe.to_dict()
    del values["pruning"]
    assert Recipe.from_dict(values) == recipe
    assert Recipe.from_dict(replace(recipe, pruning=0.25).to_dict()).pruning == 0.25


# --- in a training -------------------------------------------------------------------------------


def test_later_passes_are_shorter(fresh: Fresh, run_loop: Run, pruned: Recipe) -> None:
    state = fresh(recipe=pruned)
    run_loop(state, StepClock(42), recipe=pruned)
    images = state.watcher.latest_losses().size
    assert state.passes.images is not None
    assert len(state.passes.images) == images - int(0.35 * images)
    assert state.passes.number > 42 // (images // pruned.batch_size)


def test_all_images_are_shown_at_first(fresh: Fresh, run_loop: Run, pruned: Recipe) -> None:
    state = fresh(recipe=pruned)
    run_loop(state, StepClock(200), recipe=pruned)
    counts = np.isfinite(state.watcher.recordings().image_losses)
    assert counts[0].mean() > 0.95  # An eighth of the training is several passes.


def test_a_checkpoint_knows_the_pass(fresh: Fresh, pruned: Recipe, tmp_path: Path) -> None:
    state = fresh(recipe=pruned)
    state.passes = Passes(5, 40, np.array([1, 4, 9]))
    save_checkpoint(tmp_path, state)
    again = fresh(recipe=pruned)
    load_checkpoint(tmp_path, again)
    assert (again.passes.number, again.passes.first_step) == (5, 40)
    assert again.passes.images is not None and again.passes.images.tolist() == [1, 4, 9]


@pytest.mark.parametrize("stop_after", [7, 13, 19, 20, 26, 33])
def test_a_resumed_training_gives_the_same_weights(
    fresh: Fresh, run_loop: Run, watcher: type, pruned: Recipe, tmp_path: Path, stop_after: int
) -> None:
    whole = fresh(recipe=pruned)
    run_loop(whole, StepClock(40), recipe=pruned)
    first = fresh(recipe=pruned)
    watching = watcher(stop_after, lambda state: save_checkpoint(tmp_path, state))
    run_loop(first, StepClock(40), recipe=pruned, watcher=watching)
    second = fresh(seed=99, recipe=pruned)
    load_checkpoint(tmp_path, second)
    run_loop(second, StepClock(40), recipe=pruned)
    assert second.step == whole.step
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name
