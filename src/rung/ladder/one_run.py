"""One training of a climb: a run folder like any other, judged on the validation split alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.diagnosis import write_findings
from rung.errors import RunError
from rung.evaluation.calibration import at_temperature
from rung.ladder.allocation import has_come_to_its_end
from rung.ladder.folder import Climb
from rung.ladder.showing import Shown
from rung.ladder.steps import Step
from rung.pipeline.description import describe
from rung.pipeline.settings import check_settings
from rung.pipeline.stages import keep_trained, start_or_load, train_and_record
from rung.pipeline.training import usual_speed
from rung.progress import TrainingDisplay
from rung.runs import CHECKPOINT, RUN, Run, exclusively
from rung.training.checkpoint import checkpoints
from rung.training.clocks import Clock, StepClock, TimeClock
from rung.training.plan import Plan
from rung.training.weights import recipe_of

if TYPE_CHECKING:
    import torch

    from rung.ladder.planning import Planning
    from rung.training.loop import TrainingState

# Seconds between two writings of what a climb has used.
USED_SECONDS = 5.0


@dataclass(frozen=True)
class Trainer:
    """Trains the runs of a climb.

    Attributes:
        climb: where they belong.
        planning: what they are going to be.
        device: where they are trained.
        display: where the progress of the climb is shown.
        interrupted: whether the user has asked to stop.
        left: tells the seconds that the budget has for further runs.
        started: when the climb began, on :func:`time.monotonic`'s clock.
    """

    climb: Climb
    planning: Planning
    device: torch.device
    display: TrainingDisplay
    interrupted: Callable[[], bool]
    left: Callable[[], float]
    started: float

    def run(self, step: Step, seed: int, longest: float) -> None:
        """Train a step with a seed, in ``longest`` seconds at most, unless that is done or the user has stopped.

        A run that was stopped goes on from its checkpoint.
        """
        settings = self.climb.info["settings"]
        path = self.climb.folder_of(step.name, seed)
        place = path.relative_to(self.climb.path).as_posix()
        if self.interrupted() or any(entry["path"] == place for entry in self.climb.info["runs"]):
            return
        began = time.monotonic()
        # Even where there is a plan already: its step is timed, for the test images.
        plan = self.planning.plan(step, longest)
        resumed = path.exists() and bool(checkpoints(path / CHECKPOINT))
        if resumed:
            run = Run(path)
            plan = _plan_of(run)
        else:
            self._clear(path)
            checked = check_settings(
                **{name: settings[name] for name in ("data", "image_size", "device", "precision", "threads")},
                budget=plan.budget,
                epochs=self.planning.epochs or None,
                seed=seed,
                max_memory=None,
                rung=step.name if settings["mode"] == "ladder" else None,
            )
            info = describe(checked, self.planning.dataset, plan, self.planning.machine, {"before_training": 0.0})
            run = Run.create(path, self.planning.dataset.name, {**info, "climb": step.name})
        with run.exclusively():
            if resumed:
                run.update(status="running")
            trained = self._train(run, step, plan, seed, resumed)
        if trained is not None:
            wall = trained.pop("before") + time.monotonic() - began
            entry = {"name": step.name, "seed": seed, "path": place, "wall": wall, **trained}
            self.climb.update(runs=[*self.climb.info["runs"], entry], used=time.monotonic() - self.started)
            self._tell(entry)

    def _clear(self, path: Path) -> None:
        """Take away what a run left that never came to a checkpoint, unless `rung train --resume` is at it."""
        if path.exists():
            with exclusively(path):
                pass  # Windows takes no file away that is locked.
            shutil.rmtree(path, ignore_errors=True)

    def _train(self, run: Run, step: Step, plan: Plan, seed: int, resumed: bool) -> dict[str, Any] | None:
        """Figures for ``climb.json``, or None if the training was stopped."""
        dataset, recipe, precision = self.planning.dataset, plan.recipe, plan.precision
        settings = self.climb.info["settings"]
        may_end = recipe.rounds == (1.0,) and not recipe.keep_best
        ended = False
        written = time.monotonic()

        def enough(state: TrainingState) -> bool:
            nonlocal ended, written
            # So that it counts even where the climb is killed.
            if time.monotonic() - written >= USED_SECONDS:
                written = time.monotonic()
                self.climb.update(used=written - self.started)
            ended = ended or (may_end and has_come_to_its_end(state.history))
            # Where epochs are equal, a computer that has become slower must not take more than the budget.
            return ended or (self.planning.epochs > 0 and self.left() < 0)

        state = start_or_load(run, dataset, recipe, self.device, seed, resumed, self.display)
        before = state.seconds
        train_and_record(
            run,
            state,
            dataset,
            recipe,
            self._clock(plan, state.seconds),
            epochs=plan.epochs,
            seconds=plan.expected_seconds["training"],
            after=0.0,
            timed=not self.planning.epochs,
            seed=seed,
            precision=precision,
            display=Shown(self.display, f"{step.name}, seed {seed}", self.started, settings["budget"]),
            interrupted=self.interrupted,
            enough=enough,
        )
        if self.interrupted():
            run.update(status="interrupted")
            return None
        keep_trained(run, state, dataset, precision, usual_speed(state.history))
        run.update(status="finished")  # A training that came to its end early has finished, too.
        write_findings(run)
        shutil.rmtree(run.path / CHECKPOINT, ignore_errors=True)
        recordings = run.recordings
        assert recordings is not None and recordings.train is not None and recordings.val is not None
        calibrated = at_temperature(recordings.val.probabilities, float(state.model.temperature))
        return {
            "before": before,
            "seconds": state.seconds,
            "epochs": run.info["outcome"]["epochs"],
            "ended_early": ended,
            "train_accuracy": recordings.train.accuracy,
            "val_accuracy": recordings.val.accuracy,
            "log_loss": replace(recordings.val, probabilities=calibrated).loss,
        }

    def _clock(self, plan: Plan, used: float) -> Clock:
        if plan.budget is None:
            return StepClock(plan.steps)
        return TimeClock(time.monotonic() + plan.budget - used, 0.0, used)

    def _tell(self, entry: dict[str, Any]) -> None:
        self.display.message(
            f"{entry['name']}, seed {entry['seed']}: train {entry['train_accuracy']:.1%}, "
            f"validation {entry['val_accuracy']:.1%}, {entry['epochs']:.3g} epochs in {entry['seconds']:.1f} s"
            + (" (it had come to its end)" if entry["ended_early"] else "")
        )


def _plan_of(run: Run) -> Plan:
    """The plan in ``run.json``: a training that was stopped goes on as the network that it was.

    Raises:
        RunError: it is missing or incomplete.
    """
    try:
        stored = run.info["plan"]
        values = {field.name: stored[field.name] for field in fields(Plan) if field.name != "recipe"}
        plan = Plan(recipe=recipe_of(run), **{**values, "image_size": tuple(values["image_size"])})
        float(plan.expected_seconds["training"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path / RUN} has no complete plan: {error}") from error
    return plan
