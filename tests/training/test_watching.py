from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rung.data.dataset import Dataset
from rung.training import loop
from rung.training.checkpoint import load_checkpoint, save_checkpoint
from rung.training.clocks import StepClock
from rung.training.loop import TrainingState
from rung.training.recordings import PARTS, Recordings
from rung.training.watching import Watcher, conclude, describe_activation, is_due, norm_accuracies

Fresh = Callable[..., TrainingState]
Run = Callable[..., Any]


class Blind(Watcher):
    """Sees nothing."""

    def before(self, *args: Any) -> None: ...
    def gradients(self) -> None: ...
    def after(self, *args: Any) -> None: ...


def test_looking_is_frequent_at_first_and_rarer_later() -> None:
    due = [step for step in range(100_000) if is_due(step)]
    assert due[:9] == [0, 1, 3, 7, 15, 31, 63, 95, 127]
    assert len(due) < 500


def test_watching_does_not_change_a_weight(fresh: Fresh, run_loop: Run, dataset: Dataset) -> None:
    seen, unseen = fresh(), replace(fresh(), watcher=Blind())
    for state in (seen, unseen):
        run_loop(state, StepClock(40))
    conclude(seen.watcher, seen.model, dataset, "float32")
    values = unseen.model.state_dict()
    assert all(torch.equal(value, values[name]) for name, value in seen.model.state_dict().items())


def test_what_is_seen_of_a_training(fresh: Fresh, run_loop: Run, dataset: Dataset) -> None:
    state = fresh()
    run_loop(state, StepClock(40))
    found = conclude(state.watcher, state.model, dataset, "float32")
    assert found.layers == ("blocks.0.conv.weight", "blocks.1.conv.weight", "head.weight")
    assert found.activations == ("blocks.0", "blocks.1")
    assert found.steps.tolist() == [0, 1, 3, 7, 15, 31]
    assert found.gradients.shape == found.updates.shape == (6, 3)
    assert (found.gradients > 0).all() and (found.updates > 0).all() and np.isfinite(found.alike).all()
    assert len(found.losses) == 40 and found.losses[-1] < found.losses[0]
    assert found.image_losses.shape == (PARTS, len(dataset.train))
    # Five steps of sixteen images are most, not all, of them.
    assert 0.5 < np.isfinite(found.image_losses[0]).mean() < 1
    assert found.val is not None and found.val.accuracy > 0.8 and len(found.val.labels) == len(dataset.val)
    assert found.batch_accuracy > 0.8 and found.running_accuracy > 0.8


def test_recordings_survive_their_file(fresh: Fresh, run_loop: Run, dataset: Dataset) -> None:
    state = fresh()
    run_loop(state)
    found = conclude(state.watcher, state.model, dataset, "float32")
    read = Recordings.from_bytes(found.to_bytes())
    assert read.layers == found.layers and read.train is not None and found.train is not None
    for name in ("steps", "gradients", "spread", "losses", "image_losses"):
        np.testing.assert_array_equal(getattr(read, name), getattr(found, name))
    np.testing.assert_array_equal(read.train.probabilities, found.train.probabilities)


@pytest.mark.parametrize("content", [b"", b"x" * 40, b"\x02\0\0\0\0\0\0\0{}"])
def test_damaged_recordings_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not recordings"):
        Recordings.from_bytes(content)


def test_a_resumed_training_has_the_same_recordings(fresh: Fresh, run_loop: Run, watcher: type, tmp_path: Path) -> None:
    whole = fresh()
    run_loop(whole)
    first = fresh()
    run_loop(first, watcher=watcher(13, lambda state: save_checkpoint(tmp_path, state)))
    second = fresh(seed=99)
    load_checkpoint(tmp_path, second)
    run_loop(second)
    one, other = whole.watcher.recordings(), second.watcher.recordings()
    for name in ("steps", "gradients", "updates", "dead", "losses", "image_losses"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_retreat_is_noted(fresh: Fresh, run_loop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = loop.F.cross_entropy
    calls = []

    def broken(logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        calls.append(1)
        loss: Tensor = usual(logits, targets, **options)
        return loss * float("nan") if len(calls) == 12 else loss

    monkeypatch.setattr(loop.F, "cross_entropy", broken)
    state = fresh()
    run_loop(state)
    assert state.watcher.recordings().retreats.tolist() == [12]


def test_running_statistics_that_are_off_show(fresh: Fresh, run_loop: Run, dataset: Dataset) -> None:
    state = fresh()
    run_loop(state, StepClock(60))
    for norm in (block.norm for block in state.model.network.blocks):
        norm.running_mean += 10
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    batch, running = norm_accuracies(state.model, dataset.train, "float32")
    assert batch > 0.9 and running < 0.6
    assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())


def test_activations_are_described() -> None:
    torch.manual_seed(0)
    random = torch.randn(32, 6, 4, 4)
    dead, saturated, spread, alike = describe_activation(random.relu(), "relu")
    assert dead == 0 and saturated == 0 and spread > 0.5 and abs(alike) < 0.1
    half = random.relu()
    half[:, :3] = 0
    assert describe_activation(half, "relu")[0] == 0.5
    assert describe_activation((30 * random).sigmoid(), "sigmoid")[1] > 0.8
    assert describe_activation(random[:, :1].expand(-1, 6, -1, -1), "relu")[3] == pytest.approx(1)
    assert describe_activation(torch.ones(32, 6), "relu")[2] == 0
