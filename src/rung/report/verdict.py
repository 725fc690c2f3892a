"""What the numbers say, in two plain sentences, and the sentences beside the charts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rung.evaluation.result import Evaluation
from rung.models.backbones import ORIGINS
from rung.report.text import count, percent, points

OVERFITS, LEANS = 0.15, 0.05  # gap between training and validation accuracy
SOLVED = 0.97  # validation accuracy from which little is left to gain
TRUSTED = 0.02  # expected calibration error


def verdict(
    evaluation: Evaluation, recipe: Mapping[str, Any] | None = None, diagnosed: Collection[str] = ()
) -> tuple[str, str]:
    """How good the model is and at what; then how it generalises and how far it can be believed.

    Args:
        evaluation: the metrics.
        recipe: the recipe, as in ``run.json``.
        diagnosed: kinds of findings, which the verdict must not contradict.
    """
    network = (recipe or {}).get("network")
    varied = not (isinstance(network, dict) and network.get("learns") == "head")
    gap = _gap(evaluation, varied=varied, overfits="overfitting" in diagnosed)
    return _strength(evaluation), f"{gap}; {_trust(evaluation)}."


def majority(evaluation: Evaluation) -> tuple[str, float]:
    """The most frequent class of the test split and its share: what always answering it would reach."""
    largest = max(evaluation.per_class, key=lambda row: row.support)
    return largest.name, largest.support / max(evaluation.test_images, 1)


def calibration(evaluation: Evaluation) -> str:
    """The expected calibration error in one sentence."""
    off = points(evaluation.expected_calibration_error)
    return (
        f"Expected calibration error {off} points: that is how far, on average, "
        "the model's stated confidence lies from how often it is right."
    )


def overconfidence(evaluation: Evaluation) -> float:
    """Mean confidence minus accuracy: above 0 the model is surer than it is right."""
    images = sum(b.count for b in evaluation.reliability)
    return sum(b.count * (b.confidence - b.accuracy) for b in evaluation.reliability) / max(images, 1)


def _strength(evaluation: Evaluation) -> str:
    name, share = majority(evaluation)
    if evaluation.accuracy == 1:
        low = percent(evaluation.accuracy_interval[0])
        return (
            f"Every one of the {count(evaluation.test_images)} test images is named correctly; "
            f"on new images of this kind, expect at least {low}."
        )
    if evaluation.accuracy_interval[0] <= share:
        return (
            f"It is not measurably better than always answering “{name}”, which would be right {percent(share)} "
            "of the time: it has not learnt to tell these classes apart."
        )
    base = 100 if evaluation.accuracy < 0.99 else 1000
    opening = f"It names about {min(round(evaluation.accuracy * base), base - 1)} in {count(base)} new images correctly"
    seen = [row for row in evaluation.per_class if row.support]
    best, worst = max(seen, key=lambda row: row.recall), min(seen, key=lambda row: row.recall)
    if best.recall == worst.recall:
        return f"{opening}, and does equally well in every class."
    sentence = (
        f"{opening}: it is strongest at “{best.name}” ({percent(best.recall, 0)} found) "
        f"and weakest at “{worst.name}” ({percent(worst.recall, 0)})"
    )
    k = evaluation.per_class.index(worst)
    answers = evaluation.confusion_matrix[k]
    mistaken = max((other for other in range(len(answers)) if other != k), key=answers.__getitem__)
    if not answers[mistaken]:
        return f"{sentence}."
    return f"{sentence}, which it mostly mistakes for “{evaluation.classes[mistaken]}”."


def _gap(evaluation: Evaluation, *, varied: bool, overfits: bool) -> str:
    """How training and validation accuracy differ; a head alone sees no varied images."""
    train, val = evaluation.train_accuracy, evaluation.val_accuracy
    against = f"{percent(train)} on its training images, {percent(val)} on new ones"
    if train - val > OVERFITS:
        helps = "more images or stronger augmentation" if varied else "more images"
        return f"It overfits ({against}): {helps} should help more than more time"
    if overfits or train - val > LEANS:
        return f"It overfits a little ({against})"
    if val >= SOLVED:
        return "It does as well on new images as on those that it learnt from"
    if train > val:
        return f"It does not overfit ({against})"
    return f"It has not begun to overfit ({against}), so more time may still help"


def _trust(evaluation: Evaluation) -> str:
    error, excess = evaluation.expected_calibration_error, overconfidence(evaluation)
    if error <= TRUSTED:
        return f"its confidence can be taken at its word ({points(error)} points off on average)"
    if excess > error / 2:
        return f"it is surer than it should be, by {points(excess)} points on average"
    if excess < -error / 2:
        return f"it is right more often than it says, by {points(excess)} points on average"
    return f"its confidence is {points(error)} points off on average, sometimes too high and sometimes too low"


def stands_on(recipe: Mapping[str, Any]) -> str:
    """What the network of a recipe had learnt from before, a phrase; empty for one that began with nothing."""
    network = recipe.get("network")
    if not isinstance(network, dict) or network.get("name") != "pretrained":
        return ""
    name = str(network.get("backbone"))
    return ORIGINS.get(name) or f"what {name} was trained on"
