from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rung.errors import RunError
from rung.models.fast import FastConfig
from rung.storage import CHECKSUMS
from rung.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from rung.training.clocks import StepClock
from rung.training.loop import TrainingState
from rung.training.recipe import Recipe

Fresh = Callable[..., TrainingState]


@pytest.fixture
def trained(fresh: Fresh, run_loop: Callable[..., Any]) -> TrainingState:
    state = fresh()
    run_loop(state, StepClock(8), steps_per_row=3)
    state.rate_scale = 0.25
    return state


def test_everything_comes_back(trained: TrainingState, fresh: Fresh, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    assert not checkpoints(folder)
    save_checkpoint(folder, trained)
    assert len(checkpoints(folder)) == 1
    again = fresh(seed=77)
    load_checkpoint(folder, again)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    assert again.best.keys() == trained.best.keys()
    assert all(torch.equal(again.best[name], value) for name, value in trained.best.items())
    for one, other in zip(again.optimizers.all, trained.optimizers.all, strict=True):
        left, right = one.state_dict()["state"], other.state_dict()["state"]
        assert left.keys() == right.keys() and left
        for index in right:
            assert left[index].keys() == right[index].keys()
            assert all(torch.equal(left[index][key], right[index][key]) for key in right[index])
    kept = ("step", "seconds", "history", "best_accuracy", "rate_scale")
    assert [getattr(again, name) for name in kept] == [getattr(trained, name) for name in kept]


def test_a_row_that_is_not_a_number_survives(trained: TrainingState, fresh: Fresh, tmp_path: Path) -> None:
    trained.history[-1] = replace(trained.history[-1], train_loss=float("nan"), val_loss=float("inf"))
    save_checkpoint(tmp_path, trained)
    again = fresh()
    load_checkpoint(tmp_path, again)
    assert again.history[-1].train_loss != again.history[-1].train_loss
    assert again.history[-1].val_loss == float("inf")


def test_without_a_checkpoint(fresh: Fresh, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no checkpoint to go on from"):
        load_checkpoint(tmp_path / "checkpoint", fresh())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint(trained: TrainingState, fresh: Fresh, tmp_path: Path, share: float) -> None:
    save_checkpoint(tmp_path, trained)
    (path,) = checkpoints(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match="is damaged or has been altered"):
        load_checkpoint(tmp_path, fresh())
    (tmp_path / CHECKSUMS).unlink()
    with pytest.raises(RunError, match="is damaged or of another network"):
        load_checkpoint(tmp_path, fresh())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'\\"step\\"', b'\\"stop\\"'),
        (b'"best/', b'"test/'),
        (b'\\"best_accuracy\\": 0.', b'\\"best_accuracy\\": NaN'[:20] + b"   "),
        (b'\\"history\\": [', b'\\"history\\": {'),
    ],
)
def test_an_altered_checkpoint(trained: TrainingState, fresh: Fresh, tmp_path: Path, old: bytes, new: bytes) -> None:
    save_checkpoint(tmp_path, trained)
    (path,) = checkpoints(tmp_path)
    content = path.read_bytes()
    assert old in content
    (tmp_path / CHECKSUMS).unlink()  # It would notice before anything is read.
    path.write_bytes(content.replace(old, new[: len(old)].ljust(len(old))))
    with pytest.raises(RunError):
        load_checkpoint(tmp_path, fresh())


def test_a_checkpoint_of_another_network(trained: TrainingState, fresh: Fresh, recipe: Recipe, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, trained)
    other = fresh(recipe=replace(recipe, network=FastConfig(stages=((16,), (8,)), stem_filters=4)))
    with pytest.raises(RunError, match="of another network"):
        load_checkpoint(tmp_path, other)


def test_a_crash_while_writing_leaves_the_old_one(
    trained: TrainingState, fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, trained)
    step, trained.step = trained.step, 9

    def crash(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(Path, "replace", crash)
        with pytest.raises(RunError, match="No space left on device"):
            save_checkpoint(tmp_path, trained)
    again = fresh()
    assert load_checkpoint(tmp_path, again) is None
    assert again.step == step


def test_the_last_two_are_kept(trained: TrainingState, tmp_path: Path) -> None:
    for step in (8, 20, 100):
        trained.step = step
        save_checkpoint(tmp_path, trained)
    assert [path.stem for path in checkpoints(tmp_path)] == ["step-000000100", "step-000000020"]


def test_the_one_before_is_taken_where_the_last_is_damaged(
    trained: TrainingState, fresh: Fresh, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, trained)
    step, trained.step = trained.step, 9
    save_checkpoint(tmp_path, trained)
    last = checkpoints(tmp_path)[0]
    last.write_bytes(last.read_bytes()[:-1])
    again = fresh()
    damage = load_checkpoint(tmp_path, again)
    assert damage is not None and damage.startswith(f"{last} is damaged")
    assert again.step == step


def test_a_folder_that_cannot_be_made(trained: TrainingState, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot make"):
        save_checkpoint(tmp_path / "file" / "checkpoint", trained)


def test_the_layout_is_safetensors_and_checksums(trained: TrainingState, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, trained)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert names == {checkpoints(tmp_path)[0].name, CHECKSUMS}
