"""The main job, stage after stage: data, plan, training, evaluation, report."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rung import __version__
from rung.budget import format_duration, parse_duration
from rung.errors import RungError, RunError, UsageError
from rung.progress import SilentDisplay, TrainingDisplay
from rung.runs import CHECKPOINT, MODEL, Run

if TYPE_CHECKING:
    import torch

    from rung.data import Dataset, Source, Split
    from rung.models.classifier import Classifier
    from rung.training.clocks import Clock
    from rung.training.device import Machine
    from rung.training.loop import TrainingState
    from rung.training.plan import Plan
    from rung.training.recipe import Recipe

# Rows that a history should have at least, however few epochs the training has.
ROWS = 8
# Share of the training time that the validation of those rows may take.
VALIDATION_SHARE = 0.03
# Seconds between two checkpoints.
CHECKPOINT_SECONDS = 20.0
# Seconds that the interpreter needs to leave after the last file is written.
EXIT_SECONDS = 0.3


@dataclass(frozen=True)
class Settings:
    """What a user asked of ``rung train``, checked. See :func:`train` for the meaning of each."""

    data: str
    budget: float | None
    epochs: float | None
    seed: int
    image_size: int | None
    device: str
    precision: str | None
    threads: int | None
    max_memory: float | None

    def command(self) -> str:
        """The command line that does the same."""
        words = ["rung", "train", self.data]
        words += ["--epochs", f"{self.epochs:g}"] if self.epochs else ["--budget", f"{self.budget:g}s"]
        for name in ("seed", "image_size", "precision", "threads"):
            value = getattr(self, name)
            if value is not None and (name != "seed" or value):
                words += [f"--{name.replace('_', '-')}", str(value)]
        words += ["--device", self.device] if self.device != "auto" else []
        words += ["--max-memory", f"{self.max_memory / 2**20:.0f}M"] if self.max_memory else []
        return shlex.join(words)


def train(
    data: str | os.PathLike[str] = "digits",
    budget: str | float | None = None,
    *,
    epochs: float | None = None,
    seed: int = 0,
    image_size: int | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    max_memory: float | None = None,
    display: TrainingDisplay | None = None,
    started: float | None = None,
) -> Run:
    """Plan, train, evaluate and report, all within a budget of time.

    Args:
        data: a name (``"digits"``, ``"cifar10"``, …) or a path, see :func:`rung.data.find_source`.
        budget: wall clock for everything, as seconds or like ``"90s"``, ``"2m"``, ``"1h30m"``; 2 minutes
            unless ``epochs`` is given.
        epochs: passes over the training images instead of a budget, above 0. The same seed on the same
            computer with the same number of threads then gives the same weights, bit for bit.
        seed: of the splits, the weights, the orders and the augmentation; 0 or more.
        image_size: side in pixels to which images are brought; by default their own where they are small
            and equal, otherwise the planner's choice.
        out: the run folder to make; by default ``runs/NAME-DATE-TIME``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"float32"`` or ``"bfloat16"``; by default the faster one, measured.
        threads: CPU threads; by default one a core.
        max_memory: bytes that the process may use at its peak.
        display: where progress is shown; by default nowhere.
        started: when the budget began to run, on :func:`time.monotonic`'s clock; by default now.

    Returns:
        The finished run. After an interrupt (Ctrl-C) it is that of the best weights so far.

    Raises:
        UsageError: an argument is out of its range, or the budget is too short for this data.
        DataError: the data cannot be used.
        RunError: the run folder cannot be written.
    """
    started = time.monotonic() if started is None else started
    settings = _checked(data, budget, epochs, seed, image_size, device, precision, threads, max_memory)
    display = display or SilentDisplay()
    try:
        return _Training(settings, display, started).new(Path(out) if out is not None else None)
    finally:
        display.finish()


def resume(
    path: str | os.PathLike[str], *, display: TrainingDisplay | None = None, started: float | None = None
) -> Run:
    """Go on with a run that was stopped, from its last checkpoint; what it used of its budget counts.

    Args:
        path: the run folder.
        display: where progress is shown; by default nowhere.
        started: when this command began, on :func:`time.monotonic`'s clock; by default now.

    Raises:
        RunError: there is no such run, it has finished, or its checkpoint is damaged.
        DataError: its data is gone or has changed.
    """
    started = time.monotonic() if started is None else started
    run = Run(path)
    if run.status == "finished":
        raise RunError(f"the run {run.path} has finished; there is nothing to go on with")
    try:
        settings = Settings(**run.info["settings"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.path / 'run.json'} has no complete settings to go on with: {error}") from error
    display = display or SilentDisplay()
    try:
        return _Training(settings, display, started).again(run)
    finally:
        display.finish()


def _checked(
    data: str | os.PathLike[str],
    budget: str | float | None,
    epochs: float | None,
    seed: int,
    image_size: int | None,
    device: str,
    precision: str | None,
    threads: int | None,
    max_memory: float | None,
) -> Settings:
    if budget is not None and epochs is not None:
        raise UsageError("a budget and a number of epochs contradict each other; give one of them")
    if epochs is not None and not 0 < epochs < 1e6:
        raise UsageError(f"the number of epochs must be above 0 and below a million, not {epochs:g}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, not {seed}")
    if image_size is not None and not 1 <= image_size <= 1024:
        raise UsageError(f"the image size must lie between 1 and 1024 pixels, not {image_size}")
    if precision not in (None, "float32", "bfloat16"):
        raise UsageError(f"the precision must be float32 or bfloat16, not {precision!r}")
    if max_memory is not None and not max_memory > 0:
        raise UsageError("the memory must be more than nothing")
    seconds = None if epochs is not None else parse_duration(budget if budget is not None else 120.0)
    return Settings(os.fspath(data), seconds, epochs, seed, image_size, device, precision, threads, max_memory)


class _Training:
    """One run from its settings to its report; the stages share the times that they took."""

    def __init__(self, settings: Settings, display: TrainingDisplay, started: float) -> None:
        self.settings = settings
        self.display = display
        self.started = started
        self.timings: dict[str, float] = {}
        self._last = started

    def new(self, out: Path | None) -> Run:
        device, machine, dataset = self._prepare()
        from rung.data.probe import probe
        from rung.training.plan import make_plan

        settings = self.settings
        spent = time.monotonic() - self.started
        seconds = None if settings.budget is None else settings.budget - spent - EXIT_SECONDS
        plan = make_plan(
            dataset,
            probe(dataset.train, len(dataset.classes), settings.seed),
            machine,
            seconds=seconds,
            spent=spent,
            epochs=settings.epochs,
            max_memory=settings.max_memory,
            seed=settings.seed,
        )
        self._done("planning")
        run = Run.create(out, dataset.name, self._description(dataset, plan, machine))
        self.display.start([*self._data_lines(dataset), *plan.lines(), f"  run folder {run.path}"])
        return self._fit_and_report(run, dataset, plan.recipe, machine, device, plan.epochs, resumed=False)

    def again(self, run: Run) -> Run:
        from rung.training.recipe import Recipe

        device, machine, dataset = self._prepare()
        if dataset.fingerprint != run.info["data"]["fingerprint"]:
            raise RunError(f"the data of {run.path} has changed since it began; train anew with `{run.info['command']}`")
        try:
            recipe = Recipe.from_dict(run.info["recipe"])
            epochs = float(run.info["plan"]["epochs"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{run.path / 'run.json'} has no complete recipe: {error}") from error
        self.display.start([*self._data_lines(dataset), f"Going on with {run.path}"])
        return self._fit_and_report(run, dataset, recipe, machine, device, epochs, resumed=True)

    # --- the stages -------------------------------------------------------------------------------

    def _prepare(self) -> tuple[torch.device, Machine, Dataset]:
        from rung.data import find_source, materialise
        from rung.training.device import choose_device, measure_machine, set_threads
        from rung.training.plan import choose_image_size

        settings, progress = self.settings, self.display.progress
        set_threads(settings.threads)
        device = choose_device(settings.device)
        self._done("start")
        source: Source = find_source(settings.data, progress=progress)
        summary = source.summary
        size = settings.image_size or choose_image_size(
            summary.uniform_size, summary.median_size, summary.total, settings.budget
        )
        dataset = materialise(source, image_size=size, seed=settings.seed, progress=progress)
        self._done("data")
        return device, measure_machine(device, settings.precision), dataset

    def _fit_and_report(
        self,
        run: Run,
        dataset: Dataset,
        recipe: Recipe,
        machine: Machine,
        device: torch.device,
        epochs: float,
        *,
        resumed: bool,
    ) -> Run:
        from rung.training.checkpoint import load_checkpoint
        from rung.training.loop import TrainingState, fit
        from rung.training.optimizers import Optimizers
        from rung.training.plan import build_model

        model = build_model(recipe, dataset, device, self.settings.seed)
        state = TrainingState(model, Optimizers(model.network, recipe))
        if resumed:
            load_checkpoint(run.path / CHECKPOINT, state)
        steps_per_epoch = max(1, len(dataset.train) // recipe.batch_size)
        steps = max(1, round(epochs * steps_per_epoch))
        steps_per_row = max(1, min(steps_per_epoch, steps // ROWS))
        validation = _validation(dataset, steps_per_row * recipe.batch_size)
        clock = self._clock(run, steps, state.seconds)
        with _Recorder(run, clock, self, dataset, recipe) as recorder, _interrupts(self.display) as interrupted:
            fit(
                state,
                dataset,
                recipe,
                clock,
                seed=self.settings.seed,
                precision=machine.precision,
                steps_per_row=steps_per_row,
                validation=validation,
                observer=recorder,
                stop=interrupted,
            )
            if interrupted():
                recorder.save(state)
                self.display.message("Stopped. The best weights so far are evaluated; Ctrl-C again leaves at once.")
            self._done("training")
            self._evaluate(run, dataset, state, steps_per_epoch, machine)
            self._done("evaluation")
            self._report(run, dataset, "interrupted" if interrupted() else "finished")
            if not interrupted():
                recorder.forget()
        return run

    def _clock(self, run: Run, steps: int, used: float) -> Clock:
        from rung.training.clocks import StepClock, TimeClock

        if self.settings.budget is None:
            return StepClock(steps)
        # Of a resumed run, the time that its earlier part had until its last checkpoint has been used.
        earlier = float(run.info.get("timings", {}).get("before_training", 0.0)) + used if used else 0.0
        deadline = self.started + self.settings.budget - earlier
        after = run.info["plan"]["expected_seconds"]
        return TimeClock(deadline, after["evaluation"] + after["report"] + EXIT_SECONDS, used)

    def _evaluate(
        self, run: Run, dataset: Dataset, state: TrainingState, steps_per_epoch: int, machine: Machine
    ) -> None:
        import numpy as np
        from safetensors.torch import save

        from rung.evaluation.metrics import evaluate
        from rung.models.classifier import predict
        from rung.training.plan import TRAIN_SAMPLE

        model = state.model
        run.write_bytes(MODEL, save({name: value.contiguous().cpu() for name, value in model.state_dict().items()}))

        def accuracy(split: Split) -> float:
            return float((predict(model, split, precision=machine.precision).argmax(1) == split.labels).mean())

        sample = np.arange(0, len(dataset.train), max(1, len(dataset.train) // TRAIN_SAMPLE))
        probabilities = predict(model, dataset.test, precision=machine.precision)
        evaluation = evaluate(
            probabilities,
            dataset.test.labels,
            dataset.classes,
            train_accuracy=accuracy(dataset.train.subset(sample)),
            val_accuracy=accuracy(dataset.val),
            val_images=len(dataset.val),
            seconds=state.seconds,
            wall_seconds=time.monotonic() - self.started,
            images_per_second=_speed(state),
        )
        run.write_predictions(range(len(dataset.test)), dataset.test.labels, probabilities)
        run.write_json("evaluation.json", evaluation.to_dict())
        run.update(
            outcome={
                "epochs": state.step / steps_per_epoch,
                "steps": state.step,
                "images_per_second": evaluation.images_per_second,
            }
        )

    def _report(self, run: Run, dataset: Dataset, status: str) -> None:
        from rung.report import build_report

        total = time.monotonic() - self.started + 0.3
        run.update(status=status, timings={**run.info["timings"], **self.timings, "total": total})
        build_report(run, dataset)
        self._done("report")
        evaluation = run.read_json("evaluation.json")
        evaluation["wall_seconds"] = time.monotonic() - self.started
        run.write_json("evaluation.json", evaluation)
        run.update(timings={**run.info["timings"], **self.timings, "total": evaluation["wall_seconds"]})

    # --- what they share ----------------------------------------------------------------------------

    def _done(self, stage: str) -> None:
        now = time.monotonic()
        self.timings[stage] = now - self._last
        self._last = now

    def _description(self, dataset: Dataset, plan: Plan, machine: Machine) -> dict[str, Any]:
        from dataclasses import asdict

        return {
            "rung": __version__,
            "status": "running",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self.settings.command(),
            "settings": asdict(self.settings),
            "name": dataset.name,
            "seed": self.settings.seed,
            "data": {
                "name": dataset.name,
                "origin": dataset.origin,
                "fingerprint": dataset.fingerprint,
                "classes": list(dataset.classes),
                "images": {split.name: len(split) for split in dataset.splits},
                "image_size": list(dataset.image_size),
                "channels": dataset.channels,
                "unreadable": [asdict(file) for file in dataset.unreadable],
                "notes": list(dataset.notes),
            },
            "recipe": plan.recipe.to_dict(),
            "plan": plan.to_dict(),
            "versions": {"python": platform.python_version(), **_versions()},
            "hardware": {"system": platform.platform(), **machine.to_dict()},
            "timings": {**self.timings, "before_training": time.monotonic() - self.started},
        }

    @staticmethod
    def _data_lines(dataset: Dataset) -> list[str]:
        height, width = dataset.image_size
        counts = ", ".join(f"{len(split):,} {split.name}" for split in dataset.splits)
        colour = "grey" if dataset.channels == 1 else "colour"
        lines = [
            f"Data: {dataset.name} from {dataset.origin}: {counts} images, "
            f"{len(dataset.classes)} classes, {width}×{height} {colour}"
        ]
        if dataset.unreadable:
            lines.append(f"  {len(dataset.unreadable)} unreadable files are left out; run.json lists them")
        return lines


class _Recorder:
    """Writes what the training loop tells: history, events and checkpoints; and shows it."""

    def __init__(self, run: Run, clock: Clock, training: _Training, dataset: Dataset, recipe: Recipe) -> None:
        from rung.events import EventWriter
        from rung.training.plan import evaluation_seconds

        self._run = run
        self._clock = clock
        self._display = training.display
        self._steps_per_epoch = max(1, len(dataset.train) // recipe.batch_size)
        self._after = lambda forward: evaluation_seconds(dataset, recipe.views, forward)
        self._report_seconds = run.info["plan"]["expected_seconds"]["report"] + EXIT_SECONDS
        self._first_forward: float | None = None
        self._saved = time.monotonic()
        self._shown = 0.0
        self._events = EventWriter(run.path)

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._events.close()

    def step(self, state: TrainingState, progress: float, seconds_left: float) -> None:
        now = time.monotonic()
        if now - self._shown >= 0.25:
            self._shown = now
            epoch = state.step / self._steps_per_epoch
            self._display.step(
                progress, epoch, state.loss, state.accuracy, state.images_per_second, seconds_left
            )

    def row(self, state: TrainingState) -> None:
        row = state.history[-1]
        self._display.epoch(row)
        self._events.write(row)
        self._run.write_history(state.history)
        forward = state.evaluation_seconds_per_image
        self._first_forward = self._first_forward or forward
        # When the computer has slowed down, everything after the training will take longer, too.
        slower = max(1.0, forward / self._first_forward)
        self._clock.reserve(self._after(forward) + self._report_seconds * slower)
        if time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            self.save(state)

    def save(self, state: TrainingState) -> None:
        from rung.training.checkpoint import save_checkpoint

        save_checkpoint(self._run.path / CHECKPOINT, state)
        self._saved = time.monotonic()

    def forget(self) -> None:
        """The run has finished: there is nothing to resume."""
        folder = self._run.path / CHECKPOINT
        if folder.is_dir():
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


class _Interrupted:
    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def _interrupts(display: TrainingDisplay) -> Iterator[_Interrupted]:
    """Turn the first Ctrl-C into a request; the second one raises KeyboardInterrupt as usual."""
    interrupted = _Interrupted()

    def handle(number: int, frame: FrameType | None) -> None:
        interrupted.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = signal.signal(signal.SIGINT, handle)
    except ValueError:  # Only the main thread may handle signals; elsewhere nobody presses Ctrl-C.
        yield interrupted
        return
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _validation(dataset: Dataset, images_per_row: int) -> Split:
    """The validation images for the rows of the history: so few that they cost little of the training.

    A forward pass costs a third of a training step.
    """
    import numpy as np

    affordable = max(100, int(3 * VALIDATION_SHARE * images_per_row))
    if affordable >= len(dataset.val):
        return dataset.val
    return dataset.val.subset(np.linspace(0, len(dataset.val) - 1, affordable).astype(int))


def _speed(state: TrainingState) -> float:
    speeds = sorted(row.images_per_second for row in state.history)
    return speeds[len(speeds) // 2]


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "numpy", "pillow", "pyarrow", "scikit-learn", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
