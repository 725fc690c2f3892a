"""``rung diagnose``: what is wrong with a run, or with data that nothing was trained on yet."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.budget import parse_duration
from rung.errors import DataError, RunError, UsageError
from rung.pipeline.settings import SPLIT_SEED
from rung.progress import SilentDisplay, TrainingDisplay
from rung.runs import FINDINGS, REPORT, RUN, Run
from rung.storage import write_atomically
from rung.torch_state import own_torch_state

if TYPE_CHECKING:
    from rung.data import Dataset
    from rung.data.duplicates import Pair
    from rung.diagnosis import Finding
    from rung.diagnosis.out_of_fold import OutOfFold

DEFAULT_BUDGET = "1m"
# Seconds for the report and the files, and below which training networks to ask is not worth the attempt.
REPORT_SECONDS, LEAST_SECONDS = 1.5, 3.0
# Seconds that the search for near copies takes among 60,000 images on two cores, and the share of the time that it may.
NEAR_SECONDS, NEAR_SHARE = 15.0, 0.4


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        path: the folder with ``findings.json``, ``report.html`` and the lists; of a run, its own.
        findings: worst first.
        lists: CSV lists of images to look at, which ``rung train --exclude`` takes.
        report: the page that shows it.
    """

    path: Path
    findings: tuple[Finding, ...]
    lists: tuple[Path, ...]
    report: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "diagnosis": str(self.path),
            "report": str(self.report),
            "lists": [str(path) for path in self.lists],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def diagnose(
    target: str | os.PathLike[str],
    budget: str | float | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    display: TrainingDisplay | None = None,
    started: float | None = None,
) -> Diagnosis:
    """Say what is wrong with a run or with data, how that shows, and what to do about it.

    Of a run, the files in its folder are looked at, and its images where they are found again. Of data, the pixels,
    labels and duplicates are looked at first; in what is left of the budget, networks are trained which answer for
    images that they have not seen. The test split's labels are not looked at, and no file of the data is changed.

    Args:
        target: a run folder; or data, as for :func:`rung.train`.
        budget: wall clock for a diagnosis of data, like ``"90s"`` or ``"2m"``; 1 minute by default. A run takes some
            seconds.
        out: the folder to make for a diagnosis of data; by default ``diagnoses/NAME-DATE-TIME``.
        image_size: side in pixels to which the images are brought; by default as in :func:`rung.train`.
        seed: of the samples, the parts and the weights.
        device, threads: as of :func:`rung.train`.
        display: where progress is shown; by default nowhere.
        started: when the budget began to run, on :func:`time.monotonic`'s clock; by default now.

    Raises:
        UsageError: an argument is out of its range, or means nothing for a run.
        DataError: the data cannot be used.
        RunError: a file of the run is damaged, or the folder cannot be written to.
    """
    started = time.monotonic() if started is None else started
    display = display or SilentDisplay()
    try:
        if (Path(target) / RUN).is_file():
            if any(value is not None for value in (budget, out, image_size)):
                raise UsageError("a run is diagnosed from its files: a budget, a folder or an image size do not apply")
            return _of_run(Run(target), display, seed)
        seconds = parse_duration(DEFAULT_BUDGET if budget is None else budget)
        return _of_data(os.fspath(target), started + seconds, out, image_size, seed, device, threads, display)
    finally:
        display.finish()


def _of_run(run: Run, display: TrainingDisplay, seed: int) -> Diagnosis:
    from rung.data.duplicates import find_duplicates
    from rung.diagnosis import evidence_of, examine
    from rung.diagnosis.lists import lists_of
    from rung.diagnosis.look import look_at
    from rung.pipeline.afterwards import dataset_of, report

    try:
        dataset: Dataset | None = dataset_of(run, display.progress)
    except DataError as error:
        display.message(f"Without its images: {error}")
        dataset = None
    evidence = replace(evidence_of(run, dataset), lists=str(run.path))
    if dataset is not None:
        evidence = replace(
            evidence,
            look=look_at(dataset, seed),
            duplicates=find_duplicates(dataset.splits, progress=display.progress).pairs,
            test=_test_predictions(run),
        )
    findings = examine(evidence)
    run.write_json(FINDINGS, {"findings": [finding.to_dict() for finding in findings]})
    lists = lists_of(findings, dataset) if dataset is not None else {}
    for name, text in lists.items():
        run.write_bytes(name, text.encode("utf-8", "surrogateescape"))
    return Diagnosis(run.path, findings, tuple(run.path / name for name in lists), report(run))


def _test_predictions(run: Run) -> Any:
    """Those of a run, or None where it has not been evaluated."""
    import numpy as np

    from rung.training.recordings import Predicted

    try:
        table = run.predictions.combine_chunks()
    except RunError:
        return None
    labels, positions = (table.column(name).to_numpy().astype(np.int64) for name in ("label", "index"))
    flat = table.column("probabilities").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Predicted(flat.reshape(len(labels), -1), labels, positions)


@own_torch_state()
def _of_data(
    data: str,
    deadline: float,
    out: str | os.PathLike[str] | None,
    image_size: int | None,
    seed: int,
    device: str,
    threads: int | None,
    display: TrainingDisplay,
) -> Diagnosis:
    from rung.data import find_source, materialise
    from rung.diagnosis import Evidence, examine
    from rung.diagnosis.lists import lists_of
    from rung.diagnosis.look import look_at
    from rung.report.diagnosis import build_diagnosis_report
    from rung.training.device import choose_device
    from rung.training.plan import choose_image_size
    from rung.training.threads import set_threads

    began = time.monotonic()
    set_threads(threads)
    chosen = choose_device(device)
    source = find_source(data, progress=display.progress)
    summary = source.summary
    size = image_size or choose_image_size(summary.uniform_size, summary.median_size, summary.total, deadline - began)
    dataset = materialise(source, image_size=size, seed=SPLIT_SEED, progress=display.progress)
    folder = _make_folder(out, dataset.name)
    display.progress("looking at pixels and labels", 0, None)
    evidence = Evidence(
        data=data,
        settings={"data": data},
        classes=dataset.classes,
        images={split.name: len(split) for split in dataset.splits},
        dataset=dataset,
        look=look_at(dataset, seed),
        duplicates=_duplicates(dataset, deadline, display),
        lists=str(folder),
    )
    asked, note = _ask(dataset, deadline, str(chosen), seed, display)
    findings = examine(replace(evidence, out_of_fold=asked))
    about = _about(dataset, asked, note, time.monotonic() - began)
    found = {"data": about, "findings": [finding.to_dict() for finding in findings]}
    write_atomically(folder / FINDINGS, (json.dumps(found, indent=1) + "\n").encode())
    lists = lists_of(findings, dataset)
    for name, text in lists.items():
        write_atomically(folder / name, text.encode("utf-8", "surrogateescape"))
    page = build_diagnosis_report(dataset, findings, about, list(lists))
    write_atomically(folder / REPORT, page.encode("utf-8", "replace"))
    return Diagnosis(folder, findings, tuple(folder / name for name in lists), folder / REPORT)


def _duplicates(dataset: Dataset, deadline: float, display: TrainingDisplay) -> tuple[Pair, ...]:
    """Near copies as well, where there is time for them: their search grows with the square of the images."""
    from rung.data.duplicates import MOST, find_duplicates

    images = sum(len(split) for split in dataset.splits)
    needed = NEAR_SECONDS * (min(images, MOST) / 60_000) ** 2
    near = needed < NEAR_SHARE * (deadline - time.monotonic())
    return find_duplicates(dataset.splits, near=near, progress=display.progress).pairs


def _ask(
    dataset: Dataset, deadline: float, device: str, seed: int, display: TrainingDisplay
) -> tuple[OutOfFold | None, str]:
    """What networks say about images that they have not seen, or why there was none to ask."""
    import torch

    from rung.diagnosis.out_of_fold import out_of_fold
    from rung.training.device import measure_machine

    left = deadline - time.monotonic() - REPORT_SECONDS
    if left < LEAST_SECONDS:
        return (
            None,
            "No network was trained: the budget was used up before. Give a larger one for what needs a network.",
        )
    try:
        machine = measure_machine(torch.device(device))
        left = deadline - time.monotonic() - REPORT_SECONDS
        return out_of_fold(dataset, left, machine=machine, seed=seed, display=display), ""
    except UsageError as error:
        return None, f"No network was trained: {error}."


def _about(dataset: Dataset, asked: OutOfFold | None, note: str, seconds: float) -> dict[str, Any]:
    """What was looked at, for the page and for ``findings.json``."""
    return {
        "name": dataset.name,
        "origin": dataset.origin,
        "fingerprint": dataset.fingerprint,
        "classes": list(dataset.classes),
        "images": {split.name: len(split) for split in dataset.splits},
        "image_size": list(dataset.image_size),
        "notes": [*dataset.notes, *([note] if note else [])],
        "seconds": seconds,
        "network": asked
        and {
            "network": asked.network,
            "folds": asked.folds,
            "epochs": asked.epochs,
            "accuracy": asked.accuracy,
            "seconds": asked.seconds,
        },
    }


def _make_folder(out: str | os.PathLike[str] | None, name: str) -> Path:
    path = Path("diagnoses") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}" if out is None else Path(out)
    stem, number = path, 1
    while out is None and path.exists():
        number += 1
        path = stem.with_name(f"{stem.name}-{number}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = any(path.iterdir())
    except OSError as error:
        raise RunError(
            f"cannot make the folder {path}: {error.strerror or error}; choose another with --out"
        ) from error
    if taken:
        raise RunError(f"the folder {path} is not empty; choose another with --out")
    return path
