"""A trial: one tiny training, healthy until a fault is planted in it, and what a diagnosis gets to see of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.diagnosis.data import tiny
from benchmarks.diagnosis.networks import PlainConfig

from rung.data.batches import Augmentation
from rung.data.dataset import Dataset
from rung.diagnosis import Evidence
from rung.models import NetworkConfig
from rung.models.fast import FastConfig
from rung.runs import Epoch
from rung.training.clocks import StepClock
from rung.training.loop import fit
from rung.training.recipe import Recipe
from rung.training.recordings import Recordings
from rung.training.session import DisplayObserver, new_state
from rung.training.watching import conclude

DATA = ("digits", "cifar10", "generated")
STEPS = 240
ROWS = 12

NETWORKS: dict[str, NetworkConfig] = {
    "conv": PlainConfig(),
    "bare": PlainConfig(norm=False),
    "dense": PlainConfig(dense=True, depth=2, width=64, norm=False),
    "tanh": PlainConfig(activation="tanh", norm=False),
    "fast": FastConfig(stages=((12,), (16,)), stem_filters=6),
}


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        data: which of the tiny data sets.
        network: a key of ``NETWORKS``.
        seed: of the images, the weights and the order.
        recipe: how to train.
        steps: of the schedule.
        stop: steps after which it is stopped, or None.
        images: training images that are used, at most.
        scale: factor of the finished network's logits.
        tilt: added to the first logit of the finished network.
        rare_class: share of the first class's training images that is kept.
        settings: keyword arguments of ``rung.train`` that a remedy has set.
    """

    data: str
    network: str
    seed: int
    recipe: Recipe
    steps: int = STEPS
    stop: int | None = None
    images: int | None = None
    scale: float = 1.0
    tilt: float = 0.0
    rare_class: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


def healthy(data: str, network: str, seed: int) -> Trial:
    """A training that nothing is wrong with."""
    recipe = Recipe(
        network=NETWORKS[network],
        batch_size=32,
        optimizer="muon" if network == "fast" else "adam",
        adam_rate=4e-3 if network == "conv" else 2e-3,
        filter_rate=0.12,
        label_smoothing=0.1 if network == "fast" else 0.0,
        augmentation=Augmentation(flip=data == "cifar10", translate=1),
        views=1,
    )
    return Trial(data, network, seed, recipe)


def dataset_of(trial: Trial) -> Dataset:
    dataset = tiny(trial.data, trial.seed)
    train = dataset.train
    if trial.rare_class < 1:
        first = np.flatnonzero(train.labels == 0)
        keep = np.ones(len(train), bool)
        keep[first[max(1, round(trial.rare_class * len(first))) :]] = False
        train = train.subset(np.flatnonzero(keep))
    if trial.images is not None:
        train = train.subset(np.arange(min(trial.images, len(train))))
    return replace(dataset, train=train)


def run(trial: Trial) -> Evidence:
    """Train, and gather what a diagnosis may look at."""
    torch.set_num_threads(1)
    dataset = dataset_of(trial)
    state = new_state(trial.recipe, dataset, torch.device("cpu"), trial.seed)
    fit(
        state,
        dataset,
        trial.recipe,
        StepClock(trial.steps),
        seed=trial.seed,
        precision="float32",
        steps_per_row=max(1, trial.steps // ROWS),
        validation=dataset.val,
        observer=DisplayObserver(),
        stop=(lambda: state.step >= trial.stop) if trial.stop is not None else (lambda: False),
    )
    head = state.model.network.head
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(trial.scale)
        if head.bias is not None:
            head.bias[0] += trial.tilt
    recordings = conclude(state.watcher, state.model, dataset, "float32")
    return evidence_of(trial, tuple(state.history), recordings, dataset)


def evidence_of(
    trial: Trial, history: tuple[Epoch, ...], recordings: Recordings, dataset: Dataset | None = None
) -> Evidence:
    train, val = recordings.train, recordings.val
    assert train is not None and val is not None
    per_epoch = max(1, recordings.image_losses.shape[1] // trial.recipe.batch_size)
    return Evidence(
        data=trial.data,
        settings={"data": trial.data, "epochs": trial.steps / per_epoch},
        recipe=json.loads(json.dumps(trial.recipe.to_dict())),
        plan={"steps": trial.steps, "epochs": trial.steps / per_epoch},
        classes=tuple(str(k) for k in range(val.probabilities.shape[1])),
        images={"train": recordings.image_losses.shape[1], "val": len(val.labels)},
        history=history,
        recordings=recordings,
        train=train,
        val=val,
        status="interrupted" if trial.stop is not None else "finished",
        dataset=None,
    )


def save(folder: Path, key: str, evidence: Evidence) -> None:
    """Keep what is needed to look at a trial again with other thresholds."""
    assert evidence.recordings is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key}.json").write_text(json.dumps([asdict(row) for row in evidence.history]))
    (folder / f"{key}.safetensors").write_bytes(evidence.recordings.to_bytes())


def load(folder: Path, key: str, trial: Trial) -> Evidence | None:
    """The inverse of :func:`save`; None where the trial has not been run."""
    path = folder / f"{key}.safetensors"
    if not path.exists():
        return None
    history = tuple(Epoch(**row) for row in json.loads((folder / f"{key}.json").read_text()))
    return evidence_of(trial, history, Recordings.from_bytes(path.read_bytes()))
