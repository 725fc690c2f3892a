"""Answers of a run for image files, in a stream: the memory is that of a few batches, whatever their number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rung.cores import usable_cores
from rung.data.dataset import Images
from rung.data.preprocessing import Unusable, read_pixels
from rung.errors import UsageError
from rung.prediction.paths import Paths, Refused, check_paths, image_files
from rung.runs import Run

BATCH = 64
"""Images that go through the network together."""

UNSURE = "unsure"


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one file.

    Attributes:
        path: as it was given or found.
        classes: of the run, in the order of the probabilities.
        probabilities: float32 (K,), calibrated, or None if the file could not be read.
        error: why it could not be read, or None.
        pixels: uint8 (H, W, C), what the network saw, or None.
    """

    path: str
    classes: tuple[str, ...] = field(repr=False)
    probabilities: npt.NDArray[np.float32] | None
    error: str | None = None
    pixels: Images | None = field(default=None, repr=False)

    @property
    def label(self) -> str | None:
        """The most probable class; None for a file that could not be read."""
        return None if self.probabilities is None else self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float | None:
        """How probable that class is, 0 to 1."""
        return None if self.probabilities is None else float(self.probabilities.max())

    def top(self, k: int) -> list[tuple[str, float]]:
        """The ``k`` most probable classes (or all, if there are fewer) with their probabilities, best first."""
        if self.probabilities is None:
            return []
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.classes[place], float(self.probabilities[place])) for place in order.tolist()]

    def answer(self, threshold: float = 0.0) -> str | None:
        """The label, or ``"unsure"`` where even the most probable class is less probable than ``threshold``."""
        return UNSURE if self.probability is not None and self.probability < threshold else self.label


class Predictor:
    """A run that is loaded once and asked often.

    Args:
        run: a run, or its folder.
        precision: of the arithmetic: ``"float32"``, which gives the same answers on every computer and through
            every export, or ``"bfloat16"``, which is faster where the processor has it and differs by some hundredths.

    Raises:
        RunError: the run has no weights, or is damaged.
        UsageError: ``precision`` is something else.
    """

    def __init__(self, run: Run | str | os.PathLike[str], *, precision: str = "float32") -> None:
        from rung.models.classifier import PRECISIONS
        from rung.training.weights import load_classifier

        if precision not in PRECISIONS:
            raise UsageError(f"--precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
        self.run = run if isinstance(run, Run) else Run(run)
        self._model = load_classifier(self.run)
        self._precision = precision
        data = self.run.info["data"]
        self.classes: tuple[str, ...] = tuple(str(name) for name in data["classes"])
        self.image_size: tuple[int, int] = (int(data["image_size"][0]), int(data["image_size"][1]))
        self.channels = int(data["channels"])

    def probabilities(self, images: Images) -> npt.NDArray[np.float32]:
        """Calibrated probabilities, float32 (N, K), of prepared images, uint8 (N, H, W, C)."""
        import torch

        from rung.models.classifier import autocast

        with torch.inference_mode(), autocast(torch.device("cpu"), self._precision):
            return self._model.predict(torch.from_numpy(images)).numpy()

    def predict(self, paths: Paths, *, workers: int | None = None) -> Iterator[Prediction]:
        """Answers for image files, in the order in which they are found; see :func:`predict`."""
        if workers is not None and workers < 1:
            raise UsageError(f"workers is {workers}; at least 1 is needed")
        if isinstance(paths, str | os.PathLike | Collection):
            check_paths(paths)
        return self._stream(image_files(paths), workers or usable_cores())

    def _stream(self, files: Iterator[str | Refused], workers: int) -> Iterator[Prediction]:
        batches = iter(lambda: list(islice(files, BATCH)), [])
        waiting: deque[Future[_Decoded]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            try:
                for batch in batches:
                    waiting.append(pool.submit(self._decode, batch))
                    if len(waiting) > workers + 1:
                        yield from self._answers(waiting.popleft().result())
                while waiting:
                    yield from self._answers(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()

    def _decode(self, files: list[str | Refused]) -> _Decoded:
        pixels = np.empty((len(files), *self.image_size, self.channels), np.uint8)
        reasons: list[str | None] = []
        for file in files:
            row = len(reasons)
            if isinstance(file, Refused):
                reasons.append(file.reason)
                continue
            try:
                pixels[row] = read_pixels(Path(file), self.image_size, self.channels)
                reasons.append(None)
            except Unusable as error:
                reasons.append(str(error))
        names = [file.path if isinstance(file, Refused) else file for file in files]
        return _Decoded(names, pixels, reasons)

    def _answers(self, decoded: _Decoded) -> Iterator[Prediction]:
        readable = [row for row, reason in enumerate(decoded.reasons) if reason is None]
        found = iter(self.probabilities(decoded.pixels[readable])) if readable else iter(())
        for file, pixels, reason in zip(decoded.files, decoded.pixels, decoded.reasons, strict=True):
            if reason is None:
                yield Prediction(file, self.classes, next(found), None, pixels)
            else:
                yield Prediction(file, self.classes, None, reason)


@dataclass(frozen=True, eq=False)
class _Decoded:
    files: list[str]
    pixels: Images
    reasons: list[str | None]


def predict(
    run: Run | str | os.PathLike[str],
    paths: Paths,
    *,
    precision: str = "float32",
    workers: int | None = None,
) -> Iterator[Prediction]:
    """Answers of a run for image files, one after the other.

    Every image is prepared exactly as the training images were. Files and folders that cannot be read come as
    predictions with an ``error``, and the rest goes on; so do URLs and patterns that fit nothing in an iterator. Files
    are decoded in parallel, ahead of the network, and no more than a few batches are held at any time.

    Args:
        run: a run, or its folder.
        paths: files, folders (searched recursively) and patterns such as ``"photos/**/*.jpg"``: one, or an
            iterable of any length.
        precision: see :class:`Predictor`.
        workers: threads that decode, at least 1; by default one a core.

    Raises:
        RunError: the run has no weights, or is damaged.
        UsageError: an argument is out of its range.
        DataError: one of ``paths`` is a URL, or a pattern that fits nothing, unless they are an iterator.

    Example:
        >>> for prediction in rung.predict("runs/digits", "scans/"):
        ...     print(prediction.path, prediction.label, prediction.probability)
    """
    return Predictor(run, precision=precision).predict(paths, workers=workers)


def shown(path: str) -> str:
    """A path as text that can be written everywhere: bytes that are no UTF-8 as ``\\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def lines(stream: Iterable[str]) -> Iterator[str]:
    """The paths in a text stream, one a line; empty lines are passed over."""
    for line in stream:
        path = line.rstrip("\r\n")
        if path:
            yield path
