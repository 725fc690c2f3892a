"""The whole of ``rung predict``: answers for many files, written as they come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rung.errors import DataError, RunError, UsageError
from rung.prediction.paths import check_paths
from rung.prediction.predicting import Predictor, lines
from rung.prediction.writers import chosen_format, opened
from rung.progress import Progress, silent
from rung.runs import Run

_EVERY = 64  # images between two reports of progress


@dataclass(frozen=True)
class Predicted:
    """What :func:`write_predictions` did: numbers of images, the seconds it took, and where the results are."""

    images: int
    unreadable: int
    unsure: int
    seconds: float
    output: Path | None
    html: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        files = {name: path and str(path) for name, path in (("output", self.output), ("html", self.html))}
        return {**asdict(self), **files}


def write_predictions(
    run: Run | str | os.PathLike[str],
    paths: Iterable[str | os.PathLike[str]],
    *,
    form: str | None = None,
    output: str | os.PathLike[str] | None = None,
    html: str | os.PathLike[str] | None = None,
    top: int = 3,
    threshold: float = 0.0,
    precision: str = "float32",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Write the answers of a run for image files, as a table, CSV, JSON lines or Parquet, and as a gallery.

    Args:
        run: a run, or its folder.
        paths: files, folders and patterns; ``"-"`` stands for paths on standard input, one a line. What is wrong with
            one of those is told in its place.
        form: ``"table"``, ``"csv"``, ``"json"`` (an object a line) or ``"parquet"``; by default what the ending of
            ``output`` tells, or a table.
        output: the file to write; by default standard output.
        html: where to write a page with pictures of some hundreds of the images, if anywhere.
        top: how many classes to tell of each image, at least 1.
        threshold: an image whose most probable class is less probable, 0 to 1, is answered with "unsure".
        precision, workers: see :func:`rung.predict`.
        progress: told how many images are done.

    Raises:
        RunError: the run cannot be used, or a result cannot be written.
        UsageError: an argument is out of its range.
        DataError: there is not a single file, or one of ``paths`` is a URL or a pattern that fits nothing.
    """
    from rung.prediction.gallery import Gallery

    started = time.monotonic()
    if top < 1:
        raise UsageError(f"--top-k is {top}; it must be at least 1")
    if not 0 <= threshold <= 1:
        raise UsageError(f"--threshold is {threshold:g}; it must be between 0 and 1")
    target = None if output is None else Path(output)
    page = None if html is None else Path(html)
    kind = chosen_format(form, target)
    progress = progress or silent
    if isinstance(paths, Collection):
        check_paths(path for path in paths if os.fspath(path) != "-")
    if page is not None and not page.parent.is_dir():
        raise RunError(f"cannot write {page}: there is no folder {page.parent}; make it first")
    predictor = Predictor(run, precision=precision)
    gallery = Gallery(predictor, threshold) if page else None
    images = unreadable = unsure = 0
    with opened(kind, target, predictor.classes, top, threshold) as writer:
        for prediction in predictor.predict(_with_standard_input(paths), workers=workers):
            writer.write(prediction)
            if gallery:
                gallery.add(prediction)
            images += 1
            unreadable += prediction.error is not None
            unsure += (prediction.probability or 1.0) < threshold
            if images % _EVERY == 0:
                progress("Images", images, None)
        if not images:
            raise DataError("there is not a single image file in what was given")
    if gallery and page:
        gallery.write(page)
    progress("Images", images, images)
    return Predicted(images, unreadable, unsure, time.monotonic() - started, target, page)


def _with_standard_input(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str | os.PathLike[str]]:
    for path in paths:
        if os.fspath(path) == "-":
            yield from lines(sys.stdin)
        else:
            yield path
