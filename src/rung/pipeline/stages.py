"""The stages of one run that ``rung train`` and ``rung climb`` share: train it, keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rung.progress import TrainingDisplay
from rung.runs import CHECKPOINT, Run

if TYPE_CHECKING:
    import torch

    from rung.data import Dataset
    from rung.training.clocks import Clock
    from rung.training.loop import TrainingState
    from rung.training.recipe import Recipe


def start_or_load(
    run: Run,
    dataset: Dataset,
    recipe: Recipe,
    device: torch.device,
    seed: int,
    resumed: bool,
    display: TrainingDisplay,
) -> TrainingState:
    """A training before its first step, or where its last checkpoint left it if it is ``resumed``.

    Raises:
        RunError: there is no checkpoint that can be read.
    """
    from rung.training.checkpoint import load_checkpoint
    from rung.training.session import new_state

    state = new_state(recipe, dataset, device, seed)
    if resumed:
        damage = load_checkpoint(run.path / CHECKPOINT, state)
        if damage is not None:
            display.message(f"Going on from the checkpoint before the last: {damage}.")
    return state


def train_and_record(
    run: Run,
    state: TrainingState,
    dataset: Dataset,
    recipe: Recipe,
    clock: Clock,
    *,
    epochs: float,
    seconds: float,
    after: float,
    timed: bool,
    seed: int,
    precision: str,
    display: TrainingDisplay,
    interrupted: Callable[[], bool],
    enough: Callable[[TrainingState], bool] = lambda state: False,
) -> None:
    """Train until the clock, an interrupt or ``enough`` says so, and keep history, events and checkpoints.

    Args:
        run: where to write.
        state: where to start; has the weights to keep afterwards.
        dataset: what to learn.
        recipe: how.
        clock: how long.
        epochs: that are expected, or were asked for.
        seconds: that they are expected to take.
        after: seconds that everything after the training takes at that speed.
        timed: whether the clock's time is given, not its number of steps.
        seed: of orders and variations.
        precision: of the arithmetic.
        display: where to show the progress.
        interrupted: whether the user has asked to stop.
        enough: asked after each step; True ends the training.
    """
    from rung.pipeline.recorder import Recorder
    from rung.training.session import steps_per_epoch, train

    with Recorder(
        run,
        clock,
        display,
        steps_per_epoch=steps_per_epoch(dataset, recipe),
        seconds_after=after,
        planned=(epochs * len(dataset.train), seconds),
        interrupted=interrupted,
    ) as recorder:
        train(
            state,
            dataset,
            recipe,
            clock,
            epochs=epochs,
            seconds=seconds if timed else None,
            seed=seed,
            precision=precision,
            observer=recorder,
            stop=lambda: interrupted() or enough(state),
        )


def keep_trained(run: Run, state: TrainingState, dataset: Dataset, precision: str, speed: float) -> None:
    """Set the temperature, and write weights and recordings: what there is to keep before the test split is read.

    Raises:
        RunError: the network gives no numbers, or the folder cannot be written to.
    """
    from rung.evaluation.calibration import fit_temperature
    from rung.pipeline.judging import check_finite
    from rung.runs import RECORDINGS
    from rung.training.session import steps_per_epoch
    from rung.training.watching import conclude
    from rung.training.weights import recipe_of, save_classifier

    recordings = conclude(state.watcher, state.model, dataset, precision)
    assert recordings.train is not None and recordings.val is not None
    for predicted in (recordings.train, recordings.val):
        check_finite(predicted.probabilities)
    state.model.temperature.mul_(fit_temperature(recordings.val.probabilities, recordings.val.labels))
    save_classifier(run, state.model)
    run.write_bytes(RECORDINGS, recordings.to_bytes())
    run.update(
        outcome={
            "epochs": state.step / steps_per_epoch(dataset, recipe_of(run)),
            "steps": state.step,
            "seconds": state.seconds,
            "temperature": float(state.model.temperature),
            "images_per_second": speed,
        }
    )
