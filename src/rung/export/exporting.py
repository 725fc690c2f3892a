"""Writing a run for others, and proving that what they get gives the run's answers."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.data.dataset import Dataset
from rung.errors import DataError, RunError, RungError, UsageError
from rung.evaluation.comparison import paired_difference
from rung.export.target import Answers, target
from rung.models.classifier import ArrayPixels, Pixels, predict
from rung.progress import Progress, silent
from rung.runs import PREDICTIONS, Run
from rung.storage import is_device
from rung.torch_state import own_torch_state

SAME_LABELS = 0.999
"""The share of images on which an export must name the same class as the run."""

DIFFERENCE = 1e-3
"""The most by which any probability may differ."""

_BATCH = 250
_GENERATED = 256  # images to check on where the data is gone
_FOLDER = "export"

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """How far two ways to the same answers agree: the share of equal labels, the largest gap of a probability."""

    images: int
    same_labels: float
    difference: float

    def __bool__(self) -> bool:
        return self.same_labels >= SAME_LABELS and self.difference <= DIFFERENCE


@dataclass(frozen=True)
class AccuracyChange:
    """What 8 bits cost: accuracies, 0 to 1, on the test images, and their difference with its paired 95 % interval."""

    before: float
    after: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Exported:
    """What :func:`export_run` made.

    Attributes:
        to: the target.
        path: of the file or folder.
        bytes: its size.
        engine: what it was checked with.
        agreement: of what was written with the run's weights, computed in float32 by PyTorch.
        recorded: of what was written with the probabilities that the run's evaluation is about, or None where the
            test images are gone. They were computed in ``precision``.
        precision: ``"float32"`` or ``"bfloat16"``.
        change: of the accuracy, where the export was quantised.
        note: what should be known besides, or None.
    """

    to: str
    path: Path
    bytes: int
    engine: str
    agreement: Agreement
    recorded: Agreement | None
    precision: str
    change: AccuracyChange | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "path": str(self.path)}


@own_torch_state()
def export_run(
    run: Run | str | os.PathLike[str],
    to: str = "onnx",
    *,
    out: str | os.PathLike[str] | None = None,
    quantize: str | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a run as a file or folder that others can use without rung, and check it against the run.

    The check computes the probabilities of all test images with the target's own engine. Unless at least 99.9 % have
    the same most probable class as by the run's weights, and no probability differs by more than 0.001, nothing is
    kept. Where the data of the run is gone, 256 generated images take the place of the test images.

    Args:
        run: a run, or its folder.
        to: ``"onnx"``, ``"keras"``, ``"torch"`` or ``"web"``.
        out: the file or folder to write; by default in ``export`` in the run's folder.
        quantize: ``"int8"`` for an ONNX model that computes with 8-bit numbers, calibrated on training images. It is
            not held to the above, but its accuracy on the test images is compared with the run's.
        progress: told how far it has come.

    Raises:
        UsageError: an argument makes no sense, or a package is not installed.
        RunError: the run has no weights or is damaged, or the file cannot be written.
        DataError: the images for ``quantize`` are gone.
        RungError: what was written does not agree with the run, or the network cannot be exported.
    """
    from rung.pipeline.afterwards import dataset_of, precision_of
    from rung.training.weights import load_classifier

    run = run if isinstance(run, Run) else Run(run)
    progress = progress or silent
    if quantize not in (None, "int8"):
        raise UsageError(f"--quantize is {quantize!r}; only int8 is known")
    if quantize and to != "onnx":
        raise UsageError(f"--quantize goes with --to onnx, not with --to {to}")
    chosen = target(to)
    usual = run.path / _FOLDER / (f"model-{quantize}.onnx" if quantize else chosen.file)
    path = usual if out is None else Path(out)
    if path.suffix != Path(chosen.file).suffix:
        raise UsageError(f"--to {to} writes {_described(chosen.file)}, which {path.name} is not; change --out")
    if is_device(path):
        raise UsageError(f"{path} is no file; choose another place with --out")
    if path.is_dir() and not _takes(path, chosen.contents):
        raise UsageError(f"{path} is a folder with other things in it; choose another with --out")
    model = load_classifier(run)
    dataset: Dataset | None = None
    note = None
    try:
        dataset = dataset_of(run, progress)
    except DataError as error:
        if quantize:
            raise
        note = f"The test images are not there any more ({error}), so this was checked on generated images."
    images: Pixels = dataset.test if dataset else _generated(run)
    beside = Path(os.path.abspath(path))  # noqa: PTH100 ("." has no name, and what a link leads to may be elsewhere)
    temporary = beside.with_name(f".{beside.name}.{secrets.token_hex(8)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        progress(f"Writing {path.name}", 0, None)
        chosen.write(run, model, temporary, progress)
        expected = predict(model, images, progress=lambda done: progress("PyTorch", done, len(images)))
        found = _computed(chosen.answers(temporary), images, progress, chosen.engine)
        agreement = compare(expected, found)
        if not agreement:
            raise RungError(
                f"the export to {to} does not agree with the run: the same label on {agreement.same_labels:.2%} of "
                f"{agreement.images:,} images, probabilities up to {agreement.difference:.2g} apart; nothing was kept. "
                "This is a fault of rung: please report it"
            )
        change = None
        if quantize:
            from rung.export.onnx import metadata
            from rung.export.quantization import write_in_8_bits

            assert dataset is not None
            write_in_8_bits(model, metadata(run), temporary, dataset.train, progress)
            found = _computed(chosen.answers(temporary), images, progress, chosen.engine)
            agreement = compare(expected, found)
            change = _change(expected, found, dataset.test.labels)
        size = _publish(temporary, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; choose another place with --out") from error
    finally:
        _remove(temporary)
    recorded = _recorded(run, found) if dataset else None
    return Exported(to, path, size, chosen.engine, agreement, recorded, precision_of(run), change, note)


def compare(expected: Probabilities, found: Probabilities) -> Agreement:
    """How far two arrays of probabilities, (N, K), agree."""
    same = expected.argmax(1) == found.argmax(1)
    return Agreement(len(expected), float(same.mean()), float(np.abs(expected - found).max()))


def _described(file: str) -> str:
    suffix = Path(file).suffix
    return f"a file that ends in {suffix}" if suffix else "a folder, without an ending"


def _takes(path: Path, contents: tuple[str, ...]) -> bool:
    """Whether a folder may be written into: a target that is a folder replaces what it wrote before, and no more."""
    return bool(contents) and {entry.name for entry in path.iterdir()} <= set(contents)


def _generated(run: Run) -> ArrayPixels:
    """Images from smooth to noisy."""
    (height, width), channels = run.info["data"]["image_size"], run.info["data"]["channels"]
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (_GENERATED, 4, 4, channels))
    smooth = coarse[:, np.arange(height) * 4 // height][:, :, np.arange(width) * 4 // width]
    noisy = smooth + random.normal(0, random.uniform(0, 80, (_GENERATED, 1, 1, 1)), smooth.shape)
    return ArrayPixels(noisy.clip(0, 255).astype(np.uint8))


def _computed(answers: Answers, images: Pixels, progress: Progress, engine: str) -> Probabilities:
    parts = []
    for start in range(0, len(images), _BATCH):
        parts.append(answers(images.take(slice(start, start + _BATCH))))
        progress(engine, min(start + _BATCH, len(images)), len(images))
    return np.concatenate(parts)


def _change(before: Probabilities, after: Probabilities, labels: npt.NDArray[np.int64]) -> AccuracyChange:
    found = paired_difference(before.argmax(1) == labels, after.argmax(1) == labels)
    return AccuracyChange(found.accuracy_a, found.accuracy_b, found.difference, found.interval)


def _recorded(run: Run, found: Probabilities) -> Agreement | None:
    if not (run.path / PREDICTIONS).exists():
        return None
    table = run.predictions
    values = table["probabilities"].combine_chunks()
    stored = np.asarray(values.flatten(), np.float32).reshape(len(table), -1)
    rows = np.asarray(table["index"])
    if stored.shape[1] != found.shape[1] or not len(rows) or rows.max() >= len(found):
        return None
    return compare(stored, found[rows])


def _publish(temporary: Path, path: Path) -> int:
    """Move what was checked to where it belongs; returns its size in bytes."""
    if temporary.is_file():
        temporary.replace(path)
        return path.stat().st_size
    path.mkdir(exist_ok=True)
    files = sorted(temporary.iterdir())
    for file in files:
        file.replace(path / file.name)
    return sum((path / file.name).stat().st_size for file in files)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
