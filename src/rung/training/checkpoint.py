"""What a stopped training needs to go on: written whole or not at all, read without executing anything."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rung.data.batches import Passes
from rung.errors import RunError
from rung.runs import Epoch
from rung.storage import CheckedFolder
from rung.training.loop import TrainingState, Window
from rung.training.watching import Watcher

# The last one, and the one before it for when something damages the last.
KEPT = 2
_NAME = "step-{:09d}.safetensors"
_NAMES = "step-*.safetensors"


def save_checkpoint(folder: Path, state: TrainingState) -> None:
    """Write the state of a training into ``folder``, which is made if it is missing.

    Raises:
        RunError: the folder cannot be written to.
    """
    tensors: dict[str, Tensor] = {f"model/{name}": value for name, value in state.model.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in state.best.items()}
    for number, optimizer in enumerate(state.optimizers.all):
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer/{number}/{index}/{name}": value for name, value in values.items() if value is not None
            }
    tensors |= {f"watched/{name}": torch.from_numpy(value) for name, value in state.watcher.state().items()}
    passes = state.passes
    if passes.images is not None:
        tensors["passes/images"] = torch.from_numpy(passes.images)
    progress = {
        "step": state.step,
        "seconds": state.seconds,
        "best_accuracy": state.best_accuracy,
        "rate_scale": state.rate_scale,
        "round": state.round,
        "passes": {"number": passes.number, "first_step": passes.first_step},
        "window": state.window.values(),
        "history": [asdict(row) for row in state.history],
        "watched": state.watcher.names(),
    }
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder}: {error.strerror or error}") from error
    content = save({name: value.contiguous() for name, value in tensors.items()}, {"progress": json.dumps(progress)})
    files = CheckedFolder(folder)
    files.write(_NAME.format(state.step), content)
    for path in checkpoints(folder)[KEPT:]:
        files.remove(path.name)


def checkpoints(folder: Path) -> list[Path]:
    """The files that :func:`load_checkpoint` would try, newest first."""
    return sorted(folder.glob(_NAMES), reverse=True)


def load_checkpoint(folder: Path, state: TrainingState) -> str | None:
    """Put the last of what :func:`save_checkpoint` wrote back into a freshly built ``state``.

    Returns:
        None, or what is wrong with the last checkpoint if the one before it had to be taken.

    Raises:
        RunError: there is no checkpoint, all are damaged, or they belong to another network.
    """
    found = checkpoints(folder)
    if not found:
        raise RunError(f"{folder.parent} has no checkpoint to go on from: it has finished, or was stopped too early")
    damage = None
    for path in found:
        try:
            _load(path, state)
        except RunError as error:
            damage = damage or error
        else:
            return None if damage is None else str(damage)
    assert damage is not None
    raise damage


def _load(path: Path, state: TrainingState) -> None:
    try:
        content = CheckedFolder(path.parent).read(path.name)
        tensors, progress = load(content), json.loads(_metadata(content)["progress"])
        state.model.load_state_dict(_below("model/", tensors))
        state.best = _below("best/", tensors)
        if state.best.keys() != state.model.state_dict().keys():
            raise ValueError("the best weights are incomplete")
        state.step = int(progress["step"])
        state.seconds = float(progress["seconds"])
        state.best_accuracy = float(progress["best_accuracy"])
        state.rate_scale = float(progress["rate_scale"])
        state.round = int(progress.get("round", 0))
        images = _below("passes/", tensors).get("images")
        state.passes = Passes(**progress.get("passes", {}), images=None if images is None else images.numpy())
        state.window = Window(**progress["window"])
        state.history = [Epoch(**row) for row in progress["history"]]
        watched = {name: value.numpy() for name, value in _below("watched/", tensors).items()}
        state.watcher = Watcher.restored(watched, progress["watched"])
        for number, optimizer in enumerate(state.optimizers.all):
            values: dict[int, dict[str, Tensor]] = {}
            for name, value in _below(f"optimizer/{number}/", tensors).items():
                index, key = name.split("/")
                values.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"the checkpoint {path} is damaged or of another network ({error}); delete the folder {path.parent} "
            "to begin the training anew"
        ) from error
    if not all(math.isfinite(value) for value in (state.seconds, state.best_accuracy)):
        raise RunError(f"the checkpoint {path} is damaged: its progress is not a number")


def _metadata(content: bytes) -> dict[str, str]:
    """What safetensors keeps beside the tensors: the file begins with its header, as JSON behind its length."""
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + length])["__metadata__"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
