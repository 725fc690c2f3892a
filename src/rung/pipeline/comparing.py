"""Runs beside each other: how much better one is, where, and at what price."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.errors import DataError, RunError, UsageError
from rung.evaluation.bootstrap import Scores, changes
from rung.evaluation.compared import Against, ClassChange, Comparison, Contender
from rung.evaluation.comparison import holm, paired_difference
from rung.pipeline.afterwards import dataset_of
from rung.runs import MODEL, PREDICTIONS, Run

if TYPE_CHECKING:
    from rung.data import Dataset
    from rung.evaluation.result import Evaluation

Integers = npt.NDArray[np.int64]


def compare(*runs: Run | str | os.PathLike[str], html: str | os.PathLike[str] | None = None) -> Comparison:
    """Compare runs image by image.

    Everything is read from the predictions that the runs have stored; nothing is trained or measured anew.

    Args:
        runs: two or more run folders, trained on the same data; all are compared with the first.
        html: a file to write the comparison to, as a page with pictures of the images that only one gets right.

    Returns:
        The differences with their 95 % intervals. Each run stands for the one network that it trained: what
        training again would change is not in these intervals. For that, give
        :func:`rung.evaluation.comparison.paired_difference` several seeds of each.

    Raises:
        UsageError: fewer than two runs, or one run twice.
        RunError: runs were not measured on the same test images, or one is not finished or damaged; or ``html``
            cannot be written.
    """
    opened = [run if isinstance(run, Run) else Run(run) for run in runs]
    if len(opened) < 2:
        raise UsageError("a comparison needs two runs or more; give the folders that `rung train` printed")
    if len({run.path.resolve() for run in opened}) < len(opened):
        raise UsageError("a run is named twice; a comparison needs different ones")
    answers = [_Answers.read(run) for run in opened]
    for other in answers[1:]:
        _check_same_images(answers[0], other)
    names = _names([run.path for run in opened])
    scores = [Scores.of(one.probabilities, one.labels) for one in answers]
    differences = [paired_difference(answers[0].correct, other.correct) for other in answers[1:]]
    adjusted = holm([difference.p_value for difference in differences])
    found = changes(scores)
    comparison = Comparison(
        data=str(opened[0].info.get("name") or opened[0].path.name),
        images=len(answers[0].labels),
        runs=tuple(_contender(*parts) for parts in zip(names, answers, scores, strict=True)),
        against=tuple(
            Against(
                name=name,
                accuracy=difference,
                p_value=p_value,
                scores=change,
                classes=_classes(answers[0], other),
                gained=_clearest(answers[0], other),
                lost=_clearest(other, answers[0]),
                settings=_unlike(answers[0].run, other.run),
            )
            for name, other, difference, p_value, change in zip(
                names[1:], answers[1:], differences, adjusted, found, strict=True
            )
        ),
    )
    if html is not None:
        from rung.report.comparison import build_comparison

        build_comparison(Path(html), comparison, opened, _dataset_of_any(opened))
    return comparison


def _dataset_of_any(runs: Sequence[Run]) -> Dataset | None:
    """The data of the first run that still finds it."""
    for run in runs:
        try:
            return dataset_of(run)
        except (DataError, RunError):
            continue
    return None


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a run said about the test images, in their order."""

    run: Run
    evaluation: Evaluation
    indices: Integers
    labels: Integers
    probabilities: npt.NDArray[np.float32]

    @classmethod
    def read(cls, run: Run) -> _Answers:
        table = run.predictions.combine_chunks()
        evaluation = run.evaluation
        try:
            flat = table.column("probabilities").combine_chunks().flatten().to_numpy(zero_copy_only=False)
            probabilities = flat.reshape(table.num_rows, len(evaluation.classes))
            indices, labels = (table.column(name).to_numpy().astype(np.int64) for name in ("index", "label"))
        except (KeyError, ValueError) as error:
            raise RunError(f"{run.path / PREDICTIONS} does not fit the run's evaluation: {error}") from error
        if not len(labels) or labels.max() >= len(evaluation.classes):
            raise RunError(f"{run.path / PREDICTIONS} does not fit the run's evaluation; measure it again")
        return cls(run, evaluation, indices, labels, probabilities)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self.probabilities.argmax(1) == self.labels
        return found

    @property
    def truth(self) -> npt.NDArray[np.float32]:
        """The probability of the true class."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    def data(self, name: str) -> Any:
        return _part(self.run, "data").get(name)


def _part(run: Run, name: str) -> dict[str, Any]:
    part = run.info.get(name)
    return part if isinstance(part, dict) else {}


def _check_same_images(first: _Answers, other: _Answers) -> None:
    """Refuse runs whose test images are not the same.

    The fingerprint is about all pixels as the network gets them. So it differs as well where the same images came in
    another size or without some training images, which the runs say of themselves.
    """
    pair = f"{first.run.path} and {other.run.path}"
    if first.evaluation.classes != other.evaluation.classes:
        raise RunError(f"{pair} cannot be compared: they have different classes; compare runs on the same data")
    if not np.array_equal(first.indices, other.indices) or not np.array_equal(first.labels, other.labels):
        raise RunError(
            f"{pair} cannot be compared: they were measured on different test images "
            f"({len(first.labels):,} and {len(other.labels):,}); train both on the same data"
        )
    if first.data("fingerprint") == other.data("fingerprint"):
        return
    explained = any(
        first.data(name) != other.data(name) for name in ("image_size", "channels", "excluded")
    ) and first.data("origin") == other.data("origin")
    if not explained:
        prints = " and ".join(str(one.data("fingerprint"))[:12] for one in (first, other))
        raise RunError(
            f"{pair} cannot be compared: their data differs (fingerprints {prints}); train both on the same data"
        )


def _contender(name: str, answers: _Answers, scores: Scores) -> Contender:
    run, evaluation = answers.run, answers.evaluation
    plan, outcome = _part(run, "plan"), _part(run, "outcome")
    weights = run.path / MODEL
    return Contender(
        name=name,
        path=run.path,
        network=plan.get("network"),
        seed=run.info.get("seed"),
        parameters=plan.get("parameters"),
        multiply_adds=plan.get("multiply_adds"),
        bytes=weights.stat().st_size if weights.is_file() else None,
        seconds=evaluation.seconds,
        wall_seconds=evaluation.wall_seconds,
        epochs=outcome.get("epochs"),
        accuracy=evaluation.accuracy,
        interval=evaluation.accuracy_interval,
        train_accuracy=evaluation.train_accuracy,
        val_accuracy=evaluation.val_accuracy,
        log_loss=scores.log_loss,
        brier=scores.brier,
        overconfidence=scores.overconfidence,
        calibration_error=scores.calibration_error,
    )


def _classes(first: _Answers, other: _Answers) -> tuple[ClassChange, ...]:
    found = []
    for k, name in enumerate(first.evaluation.classes):
        of_class = first.labels == k
        if of_class.any():
            found.append((name, paired_difference(first.correct[of_class], other.correct[of_class])))
    adjusted = holm([difference.p_value for _, difference in found])
    return tuple(
        ClassChange(name, difference.images, difference, p_value)
        for (name, difference), p_value in zip(found, adjusted, strict=True)
    )


def _clearest(wrong: _Answers, right: _Answers) -> tuple[int, ...]:
    """Test images that ``right`` alone gets right, first those whose true class gained most in probability."""
    rows = np.flatnonzero(right.correct & ~wrong.correct)
    gain = right.truth[rows] - wrong.truth[rows]
    return tuple(right.indices[rows[np.argsort(-gain, kind="stable")]].tolist())


def _unlike(first: Run, other: Run) -> dict[str, tuple[Any, Any]]:
    before, after = _flat(first.info.get("recipe")), _flat(other.info.get("recipe"))
    for name in ("seed", "settings"):
        before |= _flat({name: first.info.get(name)})
        after |= _flat({name: other.info.get(name)})
    names = dict.fromkeys([*before, *after])
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name) and name not in ("settings seed", "settings out")
    }


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries, by their names one after the other."""
    if not isinstance(values, dict):
        return {}
    found: dict[str, Any] = {}
    for name, value in values.items():
        spoken = f"{prefix}{name}".replace("_", " ")
        found |= _flat(value, f"{spoken} ") if isinstance(value, dict) else {spoken: value}
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = [str(Path(*one[-length:])) for one in parts]
        if len(set(names)) == len(names):
            break
    return names
