"""One run from its settings to its report: the stages in their order, and what they tell each other."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rung.errors import RunError, UsageError
from rung.evaluation.worker import EvaluationWorker
from rung.memory import keeping_freed_memory
from rung.pipeline.settings import SPLIT_SEED, Settings, check_settings, settings_of
from rung.progress import SilentDisplay, TrainingDisplay
from rung.runs import CHECKPOINT, EVALUATION, RECORDINGS, RUN, Epoch, Run
from rung.torch_state import own_torch_state

if TYPE_CHECKING:
    import torch

    from rung.data import Dataset
    from rung.training.clocks import Clock
    from rung.training.loop import TrainingState
    from rung.training.recipe import Recipe
    from rung.training.recordings import Recordings

# Seconds that the interpreter needs to leave after the last file is written.
EXIT_SECONDS = 0.1
# Images that took so many seconds to read were read for the first time.
FIRST_READING = 1.0


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
    exclude: str | os.PathLike[str] | Collection[str | int] | None = None,
    rung: str | None = None,
    rounds: Sequence[float] | None = None,
    rate_scale: float | None = None,
    batch_size: int | None = None,
    augment: str | None = None,
    width: float | None = None,
    pretrained: str = "auto",
    backbone: str | None = None,
    learns: str | None = None,
    folds: int | None = None,
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
        seed: of the weights, the orders and the augmentation; 0 or more. The splits do not depend on it, so that
            runs with different seeds can be compared image by image.
        image_size: side in pixels to which images are brought; by default their own where they are small
            and equal, otherwise the planner's choice.
        out: the run folder to make; by default ``runs/NAME-DATE-TIME``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"float32"`` or ``"bfloat16"``; by default the faster one, measured.
        threads: CPU threads; by default one a core.
        max_memory: bytes that the process may use at its peak.
        exclude: training and validation images to leave out: a CSV list with a column ``image``, such as those that
            :func:`rung.diagnose` writes, or files and rows as in :func:`rung.data.materialise`. The splits remain what
            they are. Test images are left out only where the list's column ``split`` says ``test``.
        rung: a rung of the ladder (``"naive"``, ``"deep"``, …, see :data:`rung.training.rungs.LADDER`) instead of
            the planner's choice.
        rounds: learning rates of Adam, above 0 and at most 1, for so many equally long rounds, each of which starts
            from the weights that were best on validation images so far; with no rung, for ``"annealed"``.
        rate_scale: factor of every learning rate, 1e-4 to 1e4.
        batch_size: images a step, instead of the planner's choice.
        augment: ``"none"``, ``"normal"`` or ``"strong"``: how strongly the training images are varied.
        width: factor of the channels of every layer, 1/16 to 16.
        pretrained: whether to start from a network that knows photographs (needs ``rung[pretrained]``): ``"auto"``
            where that is expected to be better, ``"always"`` or ``"never"``.
        backbone: which such network, with ``pretrained="always"``: ``"efficientnet-lite0"``, the default, or
            ``"timm:NAME"`` for a model of the package timm whose weights are at hand.
        learns: what of it learns: ``"head"``, ``"upper"`` (its upper blocks as well) or ``"all"``, instead of the
            planner's choice.
        folds: for a training that starts from a pretrained network: estimate the accuracy, and what twice the images
            would bring, by that many folds of all images, besides the test split; 2 to 100.
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
    settings = check_settings(
        data=data,
        budget=budget,
        epochs=epochs,
        seed=seed,
        image_size=image_size,
        device=device,
        precision=precision,
        threads=threads,
        max_memory=max_memory,
        exclude=exclude,
        rung=rung,
        rounds=rounds,
        rate_scale=rate_scale,
        batch_size=batch_size,
        augment=augment,
        width=width,
        pretrained=pretrained,
        backbone=backbone,
        learns=learns,
        folds=folds,
    )
    with _Training(settings, display, started) as training:
        return training.begin(Path(out) if out is not None else None)


def attempt(settings: Settings, out: Path, display: TrainingDisplay, started: float) -> Run:
    """A training that is judged on validation images alone: its test split is not read.

    Args:
        settings: what is asked of it; a budget runs from ``started``, on :func:`time.monotonic`'s clock.
        out: the run folder to make.
        display: where progress is shown.
        started: see above.

    Raises:
        As :func:`train`.
    """
    with _Training(settings, display, started, on_test=False) as training:
        return training.begin(out)


def resume(
    path: str | os.PathLike[str], *, display: TrainingDisplay | None = None, started: float | None = None
) -> Run:
    """Go on with a run that was stopped, from its last checkpoint; what it used of its budget counts.

    Args:
        path: the run folder.
        display: where progress is shown; by default nowhere.
        started: when this command began, on :func:`time.monotonic`'s clock; by default now.

    Raises:
        RunError: there is no such run, it has finished, or a file of it is damaged.
        DataError: its data is gone or has changed.
    """
    started = time.monotonic() if started is None else started
    run = Run(path)
    with run.exclusively():
        run = Run(path)  # Whoever had it until now may have changed it.
        if run.status == "finished":
            raise RunError(f"the run {run.path} has finished; there is nothing to go on with")
        with _Training(settings_of(run), display, started) as training:
            return training.go_on(run)


class _Training:
    """The stages share the settings, the display, and the times that they took."""

    def __init__(
        self, settings: Settings, display: TrainingDisplay | None, started: float, *, on_test: bool = True
    ) -> None:
        self.settings = settings
        # Whether the run is judged on the test split; one that is only tried is judged on validation images alone.
        self.on_test = on_test
        self.display = display or SilentDisplay()
        self.started = started
        self.timings: dict[str, float] = {}
        self._last = started
        self._resumed = False
        # Before torch is imported: see there.
        self._worker = EvaluationWorker() if on_test else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._worker:
            self._worker.close()
        self.display.finish()

    @own_torch_state()
    @keeping_freed_memory()
    def begin(self, out: Path | None) -> Run:
        from rung.data import find_source, materialise
        from rung.pipeline.description import data_lines, describe
        from rung.pipeline.excluding import listed, write_excluded
        from rung.training.adjustments import Adjustments
        from rung.training.device import measure_machine
        from rung.training.plan import choose_image_size
        from rung.training.session import plan_training
        from rung.training.threads import avoiding_crowd

        settings, progress = self.settings, self.display.progress
        adjustments = Adjustments(settings.rate_scale, settings.batch_size, settings.augment, settings.width)
        excluded = listed(settings.exclude)
        device = self._device()
        source = find_source(settings.data, progress=progress)
        summary = source.summary
        size = settings.image_size or choose_image_size(
            summary.uniform_size, summary.median_size, summary.total, settings.budget
        )
        dataset = materialise(source, image_size=size, seed=SPLIT_SEED, exclude=excluded, progress=progress)
        self._done("data")

        with avoiding_crowd(settings.budget is not None):
            machine = measure_machine(device, settings.precision)
            spent = time.monotonic() - self.started
            if settings.budget is not None and spent >= settings.budget and self.timings["data"] >= FIRST_READING:
                raise UsageError(
                    f"the budget leaves no time for a single training step: the start took {spent:.1f} s, "
                    f"{self.timings['data']:.1f} of them for reading the images; what was read is kept, so try again, "
                    "or give a larger --budget"
                )
            plan = plan_training(
                dataset,
                machine,
                seconds=None if settings.budget is None else settings.budget - spent - EXIT_SECONDS,
                spent=spent,
                epochs=settings.epochs,
                max_memory=settings.max_memory,
                seed=settings.seed,
                rung=settings.rung,
                rounds=settings.rounds,
                adjustments=adjustments,
                pretrained=settings.pretrained,
                backbone=settings.backbone,
                learns=settings.learns,
                folds=settings.folds,
            )
        self._done("planning")
        if settings.folds is not None and not plan.recipe.fits_a_head:
            raise UsageError(
                f"--folds is for a head on a pretrained network, and the plan is {plan.recipe.network}; "
                "leave it out, or add --learns head"
            )

        timings = {**self.timings, "before_training": time.monotonic() - self.started}
        run = Run.create(out, dataset.name, describe(settings, dataset, plan, machine, timings))
        write_excluded(run, excluded)
        self.display.start([*data_lines(dataset), *plan.lines(), f"  run folder {run.path}"])
        with run.exclusively(), self._status_of(run):
            self._train_and_report(run, dataset, plan.recipe, device, resumed=False)
        return run

    @own_torch_state()
    @keeping_freed_memory()
    def go_on(self, run: Run) -> Run:
        from rung.pipeline.afterwards import dataset_of
        from rung.pipeline.description import data_lines
        from rung.training.checkpoint import checkpoints
        from rung.training.weights import recipe_of

        recipe = recipe_of(run)
        device = self._device()
        dataset = dataset_of(run, self.display.progress)
        self._done("data")

        resumed = bool(checkpoints(run.path / CHECKPOINT))
        how = "from its last checkpoint" if resumed else "from the beginning, for it has no checkpoint yet"
        self.display.start([*data_lines(dataset), f"Going on with {run.path}, {how}"])
        with self._status_of(run):
            run.update(status="running")
            self._train_and_report(run, dataset, recipe, device, resumed=resumed)
        return run

    # --- the stages -------------------------------------------------------------------------------

    def _device(self) -> torch.device:
        from rung.training.device import choose_device
        from rung.training.threads import set_threads

        set_threads(self.settings.threads)
        device = choose_device(self.settings.device)
        self._done("start")
        return device

    def _train_and_report(
        self, run: Run, dataset: Dataset, recipe: Recipe, device: torch.device, *, resumed: bool
    ) -> None:
        from rung.pipeline.afterwards import precision_of
        from rung.pipeline.interrupts import catch_interrupts
        from rung.pipeline.stages import start_or_load, train_and_record
        from rung.training.session import steps_per_epoch, total_steps
        from rung.training.threads import avoiding_crowd, using_threads

        epochs, seconds, after = self._planned(run)
        precision = precision_of(run)
        self._resumed = resumed
        state = start_or_load(run, dataset, recipe, device, self.settings.seed, resumed, self.display)
        clock = self._clock(run, total_steps(dataset, recipe, epochs), state.seconds, after)

        timed = self.settings.budget is not None
        with catch_interrupts() as interrupted:
            train_and_record(
                run,
                state,
                dataset,
                recipe,
                clock,
                epochs=epochs,
                seconds=seconds,
                after=after,
                timed=timed,
                seed=self.settings.seed,
                precision=precision,
                display=self.display,
                interrupted=interrupted,
            )
            # A Ctrl-C from here on is too late to stop anything but the report.
            status = "interrupted" if interrupted() else "finished"
            self._done("training")
            with using_threads(state.crowded_threads), avoiding_crowd(timed):
                made = state.step / steps_per_epoch(dataset, recipe)
                self._evaluate(run, dataset, state, precision, made, clock.paused)
            self._fold(run, dataset, recipe, state, precision)
            self._done("evaluation")
            self._report(run, dataset, status)

    def _planned(self, run: Run) -> tuple[float, float, float]:
        """Epochs, their seconds, and those of everything after them, as ``run.json`` has them."""
        try:
            plan = run.info["plan"]
            expected = plan["expected_seconds"]
            after = float(expected["evaluation"]) + float(expected["report"]) + EXIT_SECONDS
            return float(plan["epochs"]), float(expected["training"]), after
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{run.path / RUN} has no complete plan: {error}") from error

    def _clock(self, run: Run, steps: int, used: float, after: float) -> Clock:
        from rung.training.clocks import StepClock, TimeClock

        if self.settings.budget is None:
            return StepClock(steps)
        # Of a resumed run, the time that its earlier part had until its last checkpoint has been used.
        earlier = float(run.info.get("timings", {}).get("before_training", 0.0)) + used if used else 0.0
        deadline = self.started + self.settings.budget - earlier
        return TimeClock(deadline, after, used, steps if run.info["plan"].get("ends_early") else math.inf)

    def _evaluate(
        self, run: Run, dataset: Dataset, state: TrainingState, precision: str, epochs: float, paused: float
    ) -> None:
        from rung.evaluation.calibration import fit_temperature
        from rung.pipeline.judging import hurry, judge
        from rung.training.plan import JUDGING_SECONDS, REPORT_SECONDS
        from rung.training.watching import conclude

        if self.settings.budget is not None and not self._resumed:
            # A few per cent over the budget are better than an evaluation that is worth less.
            used = time.monotonic() - self.started - paused
            left = 1.02 * self.settings.budget - used - JUDGING_SECONDS - REPORT_SECONDS
            if hurry(state.model, dataset, precision, left):
                self.display.message("The computer has become slower: fewer views of each image are averaged.")
                run.update(recipe={**run.info["recipe"], "views": state.model.views})
        recordings = conclude(state.watcher, state.model, dataset, precision)
        assert recordings.train is not None and recordings.val is not None
        if self._worker is None:  # And so nothing is asked of the test split.
            val = recordings.val
            state.model.temperature.mul_(fit_temperature(val.probabilities, val.labels))
            self._keep(run, state, recordings, epochs, usual_speed(state.history))
            return
        evaluation, probabilities = judge(
            state.model,
            dataset,
            precision,
            calibrate=True,
            seen=(recordings.train, recordings.val),
            compute=self._worker.evaluate,
            seconds=state.seconds,
            wall_seconds=time.monotonic() - self.started,
            images_per_second=usual_speed(state.history),
        )
        self._keep(run, state, recordings, epochs, evaluation.images_per_second)
        run.write_predictions(range(len(dataset.test)), dataset.test.labels, probabilities)
        run.write_json(EVALUATION, evaluation.to_dict())

    def _keep(
        self, run: Run, state: TrainingState, recordings: Recordings, epochs: float, images_per_second: float
    ) -> None:
        """What is known of a trained network before anybody looks at the test split."""
        from rung.training.weights import save_classifier

        save_classifier(run, state.model)
        run.write_bytes(RECORDINGS, recordings.to_bytes())
        run.update(
            outcome={
                "epochs": epochs,
                "steps": state.step,
                "temperature": float(state.model.temperature),
                "images_per_second": images_per_second,
            }
        )

    def _fold(self, run: Run, dataset: Dataset, recipe: Recipe, state: TrainingState, precision: str) -> None:
        from rung.evaluation.folds import estimate
        from rung.models.pretrained import PretrainedNetwork
        from rung.training.features import features_of_all

        count, network = self.settings.folds, state.model.network
        # Its parts have test images among them.
        if count is None or not self.on_test:
            return
        assert isinstance(network, PretrainedNetwork)
        features = features_of_all(state.model, dataset, precision, mirrored=recipe.augmentation.flip)
        found = estimate(features, len(dataset.classes), network.widths, count, self.settings.seed)
        run.update(folds=found.to_dict())
        for line in found.lines():
            self.display.message(line)

    def _report(self, run: Run, dataset: Dataset, status: str) -> None:
        from rung.diagnosis import write_findings
        from rung.report import build_report

        total = time.monotonic() - self.started + EXIT_SECONDS
        run.update(status=status, timings={**run.info["timings"], **self.timings, "total": total})
        write_findings(run)
        build_report(run, dataset)
        self._done("report")
        if not self.on_test:
            shutil.rmtree(run.path / CHECKPOINT, ignore_errors=True)
            return
        evaluation = run.read_json(EVALUATION)
        evaluation["wall_seconds"] = time.monotonic() - self.started
        run.write_json(EVALUATION, evaluation)
        run.update(timings={**run.info["timings"], **self.timings, "total": evaluation["wall_seconds"]})
        if status == "finished":  # There is nothing to resume.
            shutil.rmtree(run.path / CHECKPOINT, ignore_errors=True)

    # --- what they share ----------------------------------------------------------------------------

    def _done(self, stage: str) -> None:
        now = time.monotonic()
        self.timings[stage] = now - self._last
        self._last = now

    @contextmanager
    def _status_of(self, run: Run) -> Iterator[None]:
        """Say in ``run.json`` how a run ended that did not come to its report."""
        try:
            yield
        except KeyboardInterrupt:
            with contextlib.suppress(RunError):
                run.update(status="interrupted")
            self.display.message(f"Left at once; `rung train --resume {run.path}` goes on.")
            raise
        except BaseException:
            with contextlib.suppress(RunError):
                run.update(status="failed")
            raise


def usual_speed(history: Sequence[Epoch]) -> float:
    """Training images a second: the median of the rows; 0 where none is known."""
    speeds = sorted(row.images_per_second for row in history if math.isfinite(row.images_per_second))
    return speeds[len(speeds) // 2] if speeds else 0.0
