"""What can be done with a run once it is there: evaluate it again, show it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import DataError, RunError
from rung.progress import Progress, SilentDisplay, TrainingDisplay
from rung.runs import EVALUATION, PREDICTIONS, REPORT, RUN, Run
from rung.torch_state import own_torch_state

if TYPE_CHECKING:
    from rung.data import Dataset
    from rung.evaluation.result import Evaluation
    from rung.models.classifier import Classifier


@own_torch_state()
def evaluate(run: Run, data: str | None = None, *, display: TrainingDisplay | None = None) -> Evaluation:
    """Measure the stored weights of a run again.

    On the run's own test split this gives what ``evaluation.json`` says; that file and ``predictions.parquet`` are
    written if they are missing and never changed.

    Args:
        run: what to measure.
        data: images to measure on, all of them, instead of the run's test split: a name or a path, see
            :func:`rung.data.find_source`. Its classes must be among those of the run; the images are brought to
            the size that the run was trained on. Accuracies on training and validation images, and times, remain
            those of the run.
        display: where progress is shown; by default nowhere.

    Raises:
        RunError: the run has no weights yet, or a file of it is damaged.
        DataError: the run's data is gone or has changed, or ``data`` cannot be used or has other classes.
    """
    from rung.pipeline.settings import settings_of
    from rung.training.device import choose_device
    from rung.training.threads import set_threads
    from rung.training.weights import load_classifier

    display = display or SilentDisplay()
    try:
        settings = settings_of(run)
        set_threads(settings.threads)
        model = load_classifier(run, choose_device())
        if data is not None:
            return _on_other_images(run, model, data, display.progress)
        return _on_test_split(run, model, display.progress)
    finally:
        display.finish()


def report(run: Run) -> Path:
    """Write the report of a run anew.

    The images in it are found where the training found them; where they are gone or have changed, the report
    names them instead of showing them.

    Returns:
        The path of ``report.html``.

    Raises:
        RunError: a file of the run is damaged, or its folder cannot be written to.
    """
    from rung.report import build_report

    try:
        dataset: Dataset | None = dataset_of(run)
    except (DataError, RunError):
        dataset = None
    build_report(run, dataset)
    return run.path / REPORT


def dataset_of(run: Run, progress: Progress | None = None) -> Dataset:
    """The data of a run, found again and split as it was.

    Raises:
        DataError: it is gone, or has changed since.
        RunError: ``run.json`` does not tell where it was.
    """
    from rung.data import find_source, materialise
    from rung.pipeline.excluding import excluded_from
    from rung.pipeline.settings import SPLIT_SEED, settings_of

    settings = settings_of(run)
    try:
        height, width = (int(side) for side in run.info["data"]["image_size"])
        fingerprint = str(run.info["data"]["fingerprint"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path / RUN} does not describe its data: {error}") from error
    source = find_source(settings.data, progress=progress)
    dataset = materialise(
        source, image_size=(height, width), seed=SPLIT_SEED, exclude=excluded_from(run), progress=progress
    )
    if dataset.fingerprint != fingerprint:
        raise DataError(
            f"{dataset.origin} has changed since {run.path} was trained on it; "
            f"train anew with `{run.info.get('command', 'rung train')}`"
        )
    return dataset


def precision_of(run: Run) -> str:
    """The arithmetic that a run was trained and evaluated in, ``"float32"`` or ``"bfloat16"``.

    Raises:
        RunError: ``run.json`` does not say.
    """
    from rung.models.classifier import PRECISIONS

    plan = run.info.get("plan")
    precision = plan.get("precision") if isinstance(plan, dict) else None
    if precision not in PRECISIONS:
        raise RunError(f"{run.path / RUN} does not say in which precision the run was trained")
    return str(precision)


def _on_test_split(run: Run, model: Classifier, progress: Progress) -> Evaluation:
    from rung.pipeline.judging import judge
    from rung.pipeline.training import usual_speed

    stored = run.evaluation if (run.path / EVALUATION).exists() else None
    dataset = dataset_of(run, progress)
    history = run.history
    evaluation, probabilities = judge(
        model,
        dataset,
        precision_of(run),
        seconds=stored.seconds if stored else history[-1].seconds if history else 0.0,
        wall_seconds=stored.wall_seconds if stored else 0.0,
        images_per_second=stored.images_per_second if stored else usual_speed(history),
    )
    if stored is None:
        run.write_json(EVALUATION, evaluation.to_dict())
    if not (run.path / PREDICTIONS).exists():
        run.write_predictions(range(len(dataset.test)), dataset.test.labels, probabilities)
    return evaluation


def _on_other_images(run: Run, model: Classifier, data: str, progress: Progress) -> Evaluation:
    from rung.data import find_source
    from rung.data.loading import whole
    from rung.evaluation.metrics import evaluate as measure
    from rung.pipeline.judging import probabilities_of

    stored = run.evaluation
    source = find_source(data, progress=progress, training=False)
    height, width = run.info["data"]["image_size"]
    split = whole(
        source,
        classes=stored.classes,
        image_size=(height, width),
        channels=run.info["data"]["channels"],
        progress=progress,
    )
    return measure(
        probabilities_of(model, split, precision_of(run)),
        split.labels,
        stored.classes,
        train_accuracy=stored.train_accuracy,
        val_accuracy=stored.val_accuracy,
        val_images=int(run.info["data"]["images"]["val"]),
        seconds=stored.seconds,
        wall_seconds=stored.wall_seconds,
        images_per_second=stored.images_per_second,
    )
