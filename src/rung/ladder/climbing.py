"""The trainings of a climb, one after the other, within its budget; the test split at the end, once for all."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.budget import format_duration, parse_duration
from rung.errors import DataError, RunError, UsageError
from rung.ladder.allocation import next_seed
from rung.ladder.folder import Climb
from rung.memory import keeping_freed_memory
from rung.progress import SilentDisplay, TrainingDisplay
from rung.runs import EVALUATION, Run
from rung.shell import command_line
from rung.torch_state import own_torch_state

if TYPE_CHECKING:
    import torch

    from rung.data import Dataset
    from rung.ladder.one_run import Trainer
    from rung.ladder.planning import Planning
    from rung.ladder.steps import Mode, Step
    from rung.progress import Progress
    from rung.training.recipe import Recipe

DEFAULT_BUDGET = 600.0
EQUAL = ("time", "epochs")
# Seconds of work that is not measured before the first run: report, files, the way out.
REPORT_SECONDS = 2.0
EXIT_SECONDS = 0.1
# Runs that a budget is for, about, before anything is known.
RUNS = 16
# Around every training: weights, whitening, files, the diagnosis.
RUN_SECONDS = 0.5
# Ideas in a row that do not help, after which `--auto` stops.
PATIENCE = 2


def climb(
    data: str | os.PathLike[str] = "digits",
    budget: str | float | None = None,
    *,
    mode: Mode = "ladder",
    equal: str = "time",
    seed: int = 0,
    image_size: int | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    display: TrainingDisplay | None = None,
    started: float | None = None,
) -> Climb:
    """Train every rung of the ladder under equal conditions and compare them.

    Args:
        data: a name or a path, see :func:`rung.data.find_source`.
        budget: wall clock for everything, as seconds or like ``"15m"``; 10 minutes by default.
        mode: ``"ladder"``: all rungs, in their order. ``"auto"``: from the naive rung on, the worst finding of each
            model picks the next idea, which is kept if it helps, until nothing helps any more. ``"down"``: the
            modern rung, and what remains of it without each of its ideas.
        equal: what all trainings have in common: ``"time"``, or ``"epochs"`` (as many as fit).
        seed: of the first run of each step; further ones count on from there.
        image_size, device, precision, threads: as of :func:`rung.train`.
        out: the folder to make; by default ``runs/climb-NAME-DATE-TIME``.
        display: where progress is shown; by default nowhere.
        started: when the budget began to run, on :func:`time.monotonic`'s clock; by default now.

    Returns:
        The finished climb. After an interrupt (Ctrl-C) the report has what there is, without test accuracies, because
        the test images are looked at once, at the end.

    Raises:
        UsageError: an argument is out of its range, or the budget is too short for this data.
        DataError: the data cannot be used.
        RunError: the folder cannot be written.
    """
    from rung.ladder.steps import MODES
    from rung.pipeline.settings import check_settings

    started = time.monotonic() if started is None else started
    if mode not in MODES:
        raise UsageError(f"the mode must be one of {', '.join(MODES)}, not {mode!r}")
    if equal not in EQUAL:
        raise UsageError(f"what is equal must be {' or '.join(EQUAL)}, not {equal!r}")
    if mode == "auto" and equal == "epochs":
        raise UsageError("--auto does not know its models beforehand, so it can only give them equal time")
    seconds = parse_duration(DEFAULT_BUDGET if budget is None else budget)
    checked = check_settings(
        data=data,
        budget=seconds,
        epochs=None,
        seed=seed,
        image_size=image_size,
        device=device,
        precision=precision,
        threads=threads,
        max_memory=None,
    )
    settings = {
        "data": checked.data,
        "budget": seconds,
        "mode": mode,
        "equal": equal,
        "seed": seed,
        "image_size": image_size,
        "device": device,
        "precision": precision,
        "threads": threads,
    }
    return _Climbing(settings, display, started).begin(None if out is None else Path(out))


def resume(
    path: str | os.PathLike[str], *, display: TrainingDisplay | None = None, started: float | None = None
) -> Climb:
    """Go on with a climb that was stopped; what it used of its budget counts.

    Raises:
        RunError: there is no such climb, it has finished, another process is at it, or a file of it is damaged.
        DataError: its data is gone or has changed.
    """
    started = time.monotonic() if started is None else started
    stopped = Climb(path)
    with stopped.exclusively():
        if stopped.status == "finished":
            raise RunError(f"the climb {stopped.path} has finished; there is nothing to go on with")
        try:
            settings = dict(stopped.info["settings"])
            started -= float(stopped.info["used"])
            return _Climbing(settings, display, started).go_on(stopped)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{stopped.path} is damaged: its climb.json is incomplete: {error}") from error


def dataset_of(climb: Climb, progress: Progress | None = None) -> Dataset:
    """The data of a climb, found again.

    Raises:
        DataError: it is gone, or has changed since.
    """
    from rung.data import find_source, materialise
    from rung.pipeline.settings import SPLIT_SEED

    settings, data = climb.info["settings"], climb.info["data"]
    height, width = data["image_size"]
    source = find_source(settings["data"], progress=progress)
    dataset = materialise(source, image_size=(height, width), seed=SPLIT_SEED, progress=progress)
    if dataset.fingerprint != data["fingerprint"]:
        raise DataError(f"{dataset.origin} has changed since {climb.path} was made; climb anew")
    return dataset


class _Climbing:
    """One climb in progress: its data, its plans, the time."""

    def __init__(self, settings: dict[str, Any], display: TrainingDisplay | None, started: float) -> None:
        self.settings = settings
        self.display = display or SilentDisplay()
        self.started = started

    # --- the stages -------------------------------------------------------------------------------

    @own_torch_state()
    @keeping_freed_memory()
    def begin(self, out: Path | None) -> Climb:
        from rung.data import find_source, materialise
        from rung.pipeline.description import data_lines
        from rung.pipeline.settings import SPLIT_SEED
        from rung.training.plan import choose_image_size

        try:
            device = self._device()
            source = find_source(self.settings["data"], progress=self.display.progress)
            summary = source.summary
            size = self.settings["image_size"] or choose_image_size(
                summary.uniform_size, summary.median_size, summary.total, self.settings["budget"] / RUNS
            )
            dataset = materialise(source, image_size=size, seed=SPLIT_SEED, progress=self.display.progress)
            planning = self._look(dataset, device, self.settings["precision"])
            self.display.start([*data_lines(dataset), "Timing the models …"])
            steps = [step for step in self._steps(planning) if planning.possible(step)]
            left = self.settings["budget"] - self._used() - REPORT_SECONDS - EXIT_SECONDS
            planning.choose_length(steps, left, self.settings["equal"] == "epochs")
            climb = Climb.create(out, dataset.name, self._describe(planning, steps))
            each = f"{planning.epochs:.3g} epochs" if planning.epochs else format_duration(planning.length)
            self.display.message(f"Climb: {each} for every training; folder {climb.path}")
            with climb.exclusively():
                return self._go(climb, planning, steps, device)
        finally:
            self.display.finish()

    @own_torch_state()
    @keeping_freed_memory()
    def go_on(self, climb: Climb) -> Climb:
        from rung.pipeline.description import data_lines
        from rung.training.weights import recipe_of

        def known(name: str) -> Recipe | None:
            runs = climb.runs(name) or climb.unfinished(name)
            return recipe_of(runs[0]) if runs else None

        try:
            device = self._device()
            dataset = dataset_of(climb, self.display.progress)
            # Measured anew, another one might be the faster.
            planning = self._look(dataset, device, str(climb.info["hardware"]["precision"]))
            planning.length, planning.epochs = float(climb.info["run_seconds"]), float(climb.info["run_epochs"])
            planning.known = known
            self.display.start([*data_lines(dataset), f"Going on with {climb.path}"])
            steps = [step for step in self._steps(planning) if planning.possible(step)]
            climb.update(status="running")
            return self._go(climb, planning, steps, device)
        finally:
            self.display.finish()

    def _go(self, climb: Climb, planning: Planning, steps: list[Step], device: torch.device) -> Climb:
        from rung.ladder.one_run import Trainer
        from rung.pipeline.interrupts import catch_interrupts
        from rung.report.climb import build_climb_report

        def left() -> float:
            reading = sum(planning.evaluation(entry["name"]) for entry in climb.entries())
            return float(self.settings["budget"]) - self._used() - REPORT_SECONDS - EXIT_SECONDS - reading

        with self._status(climb), catch_interrupts() as interrupted:
            trainer = Trainer(climb, planning, device, self.display, interrupted, left, self.started)
            if self.settings["mode"] == "auto":
                self._find_the_way(trainer, steps[0])
            else:
                self._all_once(trainer, steps)
                self._repeat(trainer, steps)
            if not interrupted():
                self._read_test(climb, planning, device)
            climb.update(status="interrupted" if interrupted() else "finished", used=self._used())
            build_climb_report(climb, planning.dataset)
            climb.update(used=self._used() + EXIT_SECONDS)
        return climb

    def _all_once(self, trainer: Trainer, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps):
            after = sum(RUN_SECONDS + trainer.planning.evaluation(later.name) for later in steps[number:])
            trainer.run(step, self.settings["seed"], (trainer.left() - after) / (len(steps) - number))

    def _repeat(self, trainer: Trainer, steps: Sequence[Step]) -> None:
        """Further seeds, as many as fit."""
        by_name = {step.name: step for step in steps}
        while not trainer.interrupted():
            entries = {name: trainer.climb.entries(name) for name in by_name}
            costs = {
                name: max(entry["wall"] for entry in mine) + trainer.planning.evaluation(name)
                for name, mine in entries.items()
            }
            counts = {name: len(mine) for name, mine in entries.items()}
            name = next_seed(list(by_name), counts, costs, trainer.left())
            if name is None:
                return
            trainer.run(by_name[name], self.settings["seed"] + counts[name], math.inf)

    def _find_the_way(self, trainer: Trainer, step: Step | None) -> None:
        """``--auto``: idea after idea, each chosen by what is wrong with the best model so far."""
        from rung.diagnosis import diagnose_run
        from rung.ladder.steps import next_step

        climb, planning = trainer.climb, trainer.planning
        kept: list[str] = []
        tried: list[str] = []
        best, misses = step, 0
        while step is not None and misses < PATIENCE and not trainer.interrupted():
            if trainer.left() < planning.length + RUN_SECONDS:
                return
            if all(known["name"] != step.name for known in climb.info["steps"]):
                climb.update(steps=[*climb.info["steps"], _plain(step)])
            trainer.run(step, self.settings["seed"], math.inf)
            if not climb.entries(step.name):
                return
            tried.append(step.name)
            result = next(found for found in climb.steps if found.name == step.name)
            if result.change is None or result.change.difference > 0:
                best, misses = step, 0
                kept.append(step.name)
            else:
                misses += 1
            assert best is not None
            findings = diagnose_run(climb.runs(best.name)[0])
            step = next_step(best, kept, tried, findings, planning.dataset, planning.probe)

    def _read_test(self, climb: Climb, planning: Planning, device: torch.device) -> None:
        """The test split, once, for every run."""
        from rung.pipeline.afterwards import precision_of
        from rung.pipeline.judging import judge
        from rung.training.weights import load_classifier

        dataset, entries = planning.dataset, climb.entries()
        for number, entry in enumerate(entries):
            self.display.progress("Test images: runs measured", number, len(entries))
            run = Run(climb.path / entry["path"])
            if (run.path / EVALUATION).exists():
                continue
            recordings = run.recordings
            assert recordings is not None and recordings.train is not None and recordings.val is not None
            evaluation, probabilities = judge(
                load_classifier(run, device),
                dataset,
                precision_of(run),
                seen=(recordings.train, recordings.val),
                seconds=entry["seconds"],
                wall_seconds=entry["wall"],
                images_per_second=run.info["outcome"]["images_per_second"],
            )
            run.write_predictions(range(len(dataset.test)), dataset.test.labels, probabilities)
            run.write_json(EVALUATION, evaluation.to_dict())
        self.display.progress("Test images: runs measured", len(entries), len(entries))

    # --- what they share ----------------------------------------------------------------------------

    def _device(self) -> torch.device:
        from rung.training.device import choose_device
        from rung.training.threads import set_threads

        set_threads(self.settings["threads"])
        return choose_device(self.settings["device"])

    def _look(self, dataset: Dataset, device: torch.device, precision: str | None) -> Planning:
        from rung.data.probe import probe
        from rung.ladder.planning import Planning
        from rung.training.device import measure_machine

        seed = self.settings["seed"]
        machine = measure_machine(device, precision)
        look = probe(dataset.train, len(dataset.classes), seed)
        return Planning(dataset, look, machine, seed, self.settings["budget"] / RUNS)

    def _steps(self, planning: Planning) -> list[Step]:
        from rung.ladder.steps import down_steps, first_step, ladder_steps

        mode = self.settings["mode"]
        if mode == "auto":
            return [first_step(planning.dataset, planning.probe)]
        return down_steps() if mode == "down" else ladder_steps(planning.dataset, planning.probe)

    def _used(self) -> float:
        return time.monotonic() - self.started

    def _describe(self, planning: Planning, steps: Sequence[Step]) -> dict[str, Any]:
        from rung.pipeline.description import describe
        from rung.pipeline.settings import check_settings

        names = ("data", "image_size", "device", "precision", "threads", "seed", "budget")
        checked = check_settings(**{name: self.settings[name] for name in names}, epochs=None, max_memory=None)
        info = describe(checked, planning.dataset, planning.plan(steps[0]), planning.machine, {})
        return {
            "status": "running",
            **{name: info[name] for name in ("rung", "created", "name", "data", "versions", "hardware")},
            "command": command(self.settings),
            "settings": self.settings,
            "run_seconds": planning.length,
            "run_epochs": planning.epochs,
            "steps": [] if self.settings["mode"] == "auto" else [_plain(step) for step in steps],
            "runs": [],
            "used": self._used(),
        }

    @contextmanager
    def _status(self, climb: Climb) -> Iterator[None]:
        """Say in ``climb.json`` how a climb ended that did not come to its report."""
        try:
            yield
        except KeyboardInterrupt:
            climb.update(status="interrupted", used=self._used())
            self.display.message(f"Left at once; `rung climb --resume {climb.path}` goes on.")
            raise
        except BaseException:
            climb.update(status="failed", used=self._used())
            raise


def command(settings: dict[str, Any]) -> str:
    """The command line that does the same."""
    words = ["rung", "climb", settings["data"], "--budget", f"{settings['budget']:g}s"]
    words += [f"--{settings['mode']}"] if settings["mode"] != "ladder" else []
    words += ["--equal", settings["equal"]] if settings["equal"] != "time" else []
    words += ["--seed", str(settings["seed"])] if settings["seed"] else []
    for name in ("image_size", "precision", "threads"):
        if settings[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    words += ["--device", settings["device"]] if settings["device"] != "auto" else []
    return command_line(words)


def _plain(step: Step) -> dict[str, Any]:
    return {"name": step.name, "idea": step.idea, "purpose": step.purpose, "below": step.below}
