"""What came out of a climb, step by step: figures, paired differences, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.errors import RunError
from rung.evaluation.comparison import CONFIDENCE, PairedDifference, Scope, holm, paired_difference
from rung.evaluation.intervals import wilson
from rung.runs import EVALUATION, FINDINGS, PREDICTIONS, RECORDINGS, Run

if TYPE_CHECKING:
    from rung.ladder.folder import Climb

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """Accuracy of a step minus that of the one below it, on the same images.

    Attributes:
        difference: from -1 to 1.
        low, high: its 95 % interval, which is for one comparison.
        p_value: of there being no difference, adjusted (Holm) for all the comparisons of the climb.
        scope: what this speaks of: ``"images"`` with one seed each, these two networks on other images;
            ``"images and seeds"``, other trainings as well.
        distinguishable: whether the interval leaves out 0, and the adjusted p-value is below 0.05.
    """

    difference: float
    low: float
    high: float
    p_value: float
    scope: Scope
    distinguishable: bool


@dataclass(frozen=True)
class StepResult:
    """One step of a climb. Accuracies are means over its seeds, fractions from 0 to 1; losses are in nats.

    Attributes:
        name, idea, purpose, below: as of the step.
        seeds: runs that have finished.
        parameters: weights of the network.
        multiply_adds: of one image going through it.
        network: its shape in words.
        seconds: of training, mean of the runs.
        epochs: passes over the training images, mean of the runs.
        ended_early: runs that came to their end before their time.
        train_accuracy: on a fixed sample of the training images, as they are.
        val_accuracy, val_interval: on the validation images.
        gap: ``train_accuracy - val_accuracy``.
        log_loss: on the validation images.
        test_accuracy, test_interval: on the test images; None until the climb has ended.
        change: paired difference to the step below on the validation images.
        test_change: the same on the test images.
        problem: what was wrong with the step below, a sentence.
        verdict: what the idea did here, a sentence.
        helped: whether the difference is above nothing, and distinguishable from it; of these two networks alone where
            its scope says so. None without a step below.
    """

    name: str
    idea: str
    purpose: str
    below: str | None
    seeds: int
    parameters: int
    multiply_adds: int
    network: str
    seconds: float
    epochs: float
    ended_early: int
    train_accuracy: float
    val_accuracy: float
    val_interval: tuple[float, float]
    gap: float
    log_loss: float
    test_accuracy: float | None
    test_interval: tuple[float, float] | None
    change: Difference | None
    test_change: Difference | None
    problem: str
    verdict: str
    helped: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return asdict(self)


def results(climb: Climb) -> tuple[StepResult, ...]:
    """The steps that have a finished run.

    Raises:
        RunError: a file of a run is damaged.
    """
    from rung.ladder.words import problem_of, verdict

    steps = [step for step in climb.info["steps"] if climb.entries(step["name"])]
    runs = {step["name"]: climb.runs(step["name"]) for step in steps}
    val = {name: np.stack([correct_on_val(run) for run in mine]) for name, mine in runs.items()}
    test = {name: correct_on_test(mine) for name, mine in runs.items()}
    below_of = {step["name"]: step["below"] for step in steps if step["below"] in runs}
    changes, test_changes = _differences(val, below_of), _differences(test, below_of)
    found: dict[str, StepResult] = {}
    for step in steps:
        name, below = step["name"], below_of.get(step["name"])
        entries = climb.entries(name)
        plan = runs[name][0].info["plan"]
        change = changes.get(name)
        train_accuracy = _mean(entries, "train_accuracy")
        accuracy = float(val[name].mean())
        on_test = test[name]
        down = climb.info["settings"]["mode"] == "down"
        found[name] = StepResult(
            name=name,
            idea=step["idea"],
            purpose=step["purpose"],
            below=below,
            seeds=len(entries),
            parameters=int(plan["parameters"]),
            multiply_adds=int(plan["multiply_adds"]),
            network=str(plan["network"]),
            seconds=_mean(entries, "seconds"),
            epochs=_mean(entries, "epochs"),
            ended_early=sum(bool(entry["ended_early"]) for entry in entries),
            train_accuracy=train_accuracy,
            val_accuracy=accuracy,
            val_interval=_interval(val[name]),
            gap=train_accuracy - accuracy,
            log_loss=_mean(entries, "log_loss"),
            test_accuracy=None if on_test is None else float(on_test.mean()),
            test_interval=None if on_test is None else _interval(on_test),
            change=change,
            test_change=test_changes.get(name),
            problem="" if below is None else problem_of(found[below], _findings(runs[below][0]), _remedies(name)),
            verdict=verdict(step["purpose"], change, down),
            helped=None if change is None else change.distinguishable and (change.difference > 0),
        )
    return tuple(found.values())


def _remedies(name: str) -> tuple[str, ...]:
    """The kinds of findings that a step's idea is a remedy for."""
    from rung.training.rungs import RUNGS

    return next((rung.remedies for rung in RUNGS if rung.name == name), ())


def correct_on_val(run: Run) -> Correct:
    """Which validation images a run gets right, bool (N,).

    Raises:
        RunError: it has not come that far, or a file of it is damaged.
    """
    recordings = run.recordings
    if recordings is None or recordings.val is None:
        raise RunError(f"{run.path} has no {RECORDINGS}: its training has not ended")
    return np.asarray(recordings.val.probabilities.argmax(1) == recordings.val.labels)


def correct_on_test(runs: list[Run]) -> Correct | None:
    """Which test images each run gets right, bool (S, N); None before the test split has been read for all."""
    if not all((run.path / PREDICTIONS).exists() and (run.path / EVALUATION).exists() for run in runs):
        return None
    tables = [run.predictions for run in runs]
    return np.stack([table.column("label").to_numpy() == table.column("prediction").to_numpy() for table in tables])


def _differences(correct: Mapping[str, Correct | None], below_of: Mapping[str, str]) -> dict[str, Difference]:
    """Each step against the one below it, where both have been measured."""
    found: dict[str, PairedDifference] = {}
    for name, below in below_of.items():
        mine, theirs = correct[name], correct[below]
        if mine is not None and theirs is not None:
            found[name] = paired_difference(theirs, mine)
    adjusted = holm([each.p_value for each in found.values()])
    return {
        name: Difference(
            each.difference,
            *each.interval,
            p_value=p_value,
            scope=each.scope,
            distinguishable=each.distinguishable and p_value < 1 - CONFIDENCE,
        )
        for (name, each), p_value in zip(found.items(), adjusted, strict=True)
    }


def _interval(correct: Correct) -> tuple[float, float]:
    """Of the mean accuracy over seeds, for other images of the same kind."""
    return wilson(float(correct.mean()) * correct.shape[1], correct.shape[1])


def _mean(entries: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([entry[name] for entry in entries]))


def _findings(run: Run) -> list[dict[str, Any]]:
    if not (run.path / FINDINGS).exists():
        return []
    found = run.read_json(FINDINGS)
    return list(found.get("findings") or ()) if isinstance(found, dict) else []
