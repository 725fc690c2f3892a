"""The first remedy of each faulty trial, applied as ``rung train --fix`` would, and what it brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.diagnosis.judging import Row
from benchmarks.diagnosis.plan import Planted
from benchmarks.diagnosis.trials import Trial, healthy, run

from rung.training.adjustments import Adjustments


def remedied(trial: Trial, settings: Mapping[str, Any], epochs: float) -> Trial:
    """The trial with the settings of a remedy; what was done to a finished network by hand is not done again.

    Args:
        trial: what was diagnosed.
        settings: keyword arguments of ``rung.train``.
        epochs: of the trial.
    """
    trial = replace(trial, stop=None, scale=1.0, tilt=0.0)
    if "rung" in settings:
        network = healthy(trial.data, "fast", trial.seed).recipe
        trial = replace(trial, recipe=network, network="fast", steps=max(trial.steps, 60))
    elif "rounds" in settings:
        trial = replace(trial, recipe=replace(trial.recipe, rounds=()))
    if settings.get("augment") == "normal":
        usual = healthy(trial.data, trial.network, trial.seed).recipe.augmentation
        trial = replace(trial, recipe=replace(trial.recipe, augmentation=usual))
    if "epochs" in settings:
        trial = replace(trial, steps=max(1, round(trial.steps * settings["epochs"] / epochs)))
    changes = {name: settings[name] for name in ("rate_scale", "batch_size", "augment", "width") if name in settings}
    if "batch_size" in changes and trial.recipe.batch_size > changes["batch_size"]:
        # As many epochs in smaller batches are more steps; a training is not made shorter by larger ones here.
        trial = replace(trial, steps=trial.steps * trial.recipe.batch_size // changes["batch_size"])
    return replace(trial, recipe=Adjustments(**changes).apply(trial.recipe, (8, 8)))


def try_remedy(pair: tuple[Planted, Row]) -> Row:
    """Train again; a row with validation accuracies before and after, on the same images.

    Args:
        pair: the trial, and what the diagnosis said of it.
    """
    planted, row = pair
    evidence = run(remedied(planted.trial, row["remedy"], row["epochs"]))
    assert evidence.val is not None
    return {
        "key": row["key"],
        "seed": row["seed"],
        "kind": row["found"][0],
        "remedy": row["remedy"],
        "before": row["val_accuracy"],
        "after": round(evidence.val.accuracy, 4),
    }
