"""Wrong labels: images that networks which have not seen them firmly take for another class.

How many there are is read off the images that are answered most confidently. How confident a network is of an image
that it has not seen does not depend on the label that the image was given, so wrong labels are as frequent among these
images as everywhere. And where the network errs, the true class is among its next answers: a label in the less probable
half of the classes is hardly ever one of its mistakes, but every second wrong label is there. Of a network that hardly
errs, all disagreement counts. So it does with fewer than four classes, which have no such half, but only where it is as
frequent among the very surest answers as among others, as mistakes are not.

Which ones they are: those whose own label is given the least probability. That is cleanlab's self-confidence, but for
the networks that are asked: those that have learnt from an image may speak too, as long as they have seen it a few
times only (measured on CIFAR-10 with 5 % wrong labels: 76 % of the first so many suspects are rightly suspected,
instead of 74 %).

References:
    Northcutt, Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 70, 2021
    (arXiv:1911.00068); Pleiss et al., Identifying mislabeled data using the area under the margin ranking, NeurIPS
    2020 (arXiv:2001.10528), for losses in the course of a training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.evaluation.intervals import wilson

EXPLAINS: frozenset[str] = frozenset()

LIST = "suspect_labels.csv"
# Share of the images, the most confidently answered, on which wrong labels are counted; and how many that must be.
CONFIDENT, LEAST = 0.2, 60
# Classes from which there is a less probable half.
FEW = 4
# With few classes: the shares that must show about the same disagreement, and by what factor the first may show less.
SUREST, SURE, FLAT = 0.1, 0.4, 0.7
# Agreement of answers and labels from which the surer of the answers can be taken for right: SURE of them.
ACCURATE = 0.9
# Probability from which answers are equally sure. Where more images than are counted have it, nobody knows the surest.
CERTAIN = 1 - 1e-6
# Share of wrong labels that the lower end of its interval must exceed; and from which they are serious.
SHARE, SERIOUS = 0.01, 0.1
# Validation accuracy from which a single run is asked: of 105 healthy tiny networks, every second one blamed labels,
# none of them that was right more often than this.
TRUSTED = 0.7
# The same of networks that were trained to be asked, which have far more images to be counted on: with 66 % right,
# 0.1 % of CIFAR-10's own labels were blamed.
ASKED = 0.6
# Points of accuracy that a share of wrong labels costs, by each point of it.
COST = 0.3

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Suspicion:
    """How many labels are wrong.

    Attributes:
        share, interval: of all labels, 0 to 1, and its 95 % interval.
        counted: images that this stands on.
    """

    share: float
    interval: tuple[float, float]
    counted: int


def estimate(probabilities: npt.NDArray[np.floating[Any]], labels: Ints) -> Suspicion | None:
    """How many labels are wrong; None where that cannot be said: too few images, or too weak a network.

    Args:
        probabilities: (N, K), of networks that have not seen the images.
        labels: int64 (N,), as given.
    """
    classes = probabilities.shape[1]
    surest = np.argsort(-probabilities.max(1), kind="stable")
    # How many classes are more probable than the label.
    above = (probabilities > probabilities[np.arange(len(labels)), labels][:, None]).sum(1)[surest]
    accurate = float((above == 0).mean()) >= ACCURATE
    count = int((SURE if accurate else CONFIDENT if classes >= FEW else SUREST) * len(labels))
    if count < LEAST or probabilities[surest[count]].max() > CERTAIN:
        return None
    if not accurate and classes >= FEW:
        unlikely = int((above[:count] >= classes // 2).sum())
        # Of the classes that a wrong label may be, so many are in the less probable half.
        scale = (classes - 1) / (classes - classes // 2)
        low, high = (min(1.0, scale * end) for end in wilson(unlikely, count))
        return Suspicion(min(1.0, scale * unlikely / count), (low, high), count)
    wrong = int((above[:count] > 0).sum())
    if not accurate and wrong / count < FLAT * float((above[: int(SURE * len(labels))] > 0).mean()):
        return None
    return Suspicion(wrong / count, wilson(wrong, count), count)


def rank(
    probabilities: npt.NDArray[np.floating[Any]], labels: Ints, own: npt.NDArray[np.floating[Any]] | None = None
) -> Ints:
    """Positions of the images whose label is not the answer, the most doubtful first.

    Args:
        probabilities: (N, K), of networks that have not seen the images.
        labels: int64 (N,), as given.
        own: (N,), how probable the own label is; by default its probability.
    """
    own = probabilities[np.arange(len(labels)), labels] if own is None else own
    disputed = np.flatnonzero(probabilities.argmax(1) != labels)
    return np.asarray(disputed[np.argsort(own[disputed], kind="stable")], np.int64)


def find(evidence: Evidence) -> Iterator[Finding]:
    """The share of wrong labels, and so many suspects; of a run, by what it recorded and by its validation images."""
    known = evidence.out_of_fold
    if known is not None:
        suspicion = estimate(known.probabilities, known.labels) if known.accuracy >= ASKED else None
        if suspicion and suspicion.interval[0] > SHARE:
            chosen = rank(known.probabilities, known.labels, known.own)[: round(suspicion.share * len(known.labels))]
            own = np.exp(known.own[chosen])
            answers = known.probabilities[chosen].argmax(1)
            rows = [
                [split, position, int(answer), round(float(1 - p), 4)]
                for (split, position), answer, p in zip(known.positions(chosen), answers, own, strict=True)
            ]
            yield _finding(evidence, suspicion, rows, len(known.labels))
    elif evidence.val is not None and evidence.val.accuracy >= TRUSTED:
        suspicion = estimate(evidence.val.probabilities, evidence.val.labels)
        if suspicion and suspicion.interval[0] > SHARE:
            rows, total = _of_a_run(evidence, suspicion)
            yield _finding(evidence, suspicion, rows, total)


def _of_a_run(evidence: Evidence, suspicion: Suspicion) -> tuple[list[list[Any]], int]:
    """Suspects among the validation images by the network's answer, among the training images by their losses."""
    val = evidence.val
    assert val is not None
    chosen = rank(val.probabilities, val.labels)[: round(suspicion.share * len(val.labels))]
    rows: list[list[Any]] = [
        [
            "val",
            int(val.positions[i]),
            int(val.probabilities[i].argmax()),
            round(float(1 - val.probabilities[i, val.labels[i]]), 4),
        ]
        for i in chosen.tolist()
    ]
    total = len(val.labels)
    losses = evidence.recordings.image_losses if evidence.recordings else np.zeros((0, 0), np.float16)
    if losses.size:
        # An image that did not pass in some part of the training has the mean of the others.
        seen = np.isfinite(losses)
        mean = np.where(seen, losses, 0).sum(0, dtype=np.float64) / np.maximum(seen.sum(0), 1)
        order = np.argsort(-mean, kind="stable")[: round(suspicion.share * losses.shape[1])]
        rows = [["train", int(i), None, round(float(1 - np.exp(-mean[i])), 4)] for i in order.tolist()] + rows
        total += losses.shape[1]
    return rows, total


def _finding(evidence: Evidence, suspicion: Suspicion, rows: list[list[Any]], total: int) -> Finding:
    low, high = suspicion.interval
    command, settings = evidence.without(LIST)
    text = f"Look at the images of {LIST} and put their labels right; or train without them."
    if command and not settings:
        text = f"Have {LIST} written, look at its images and put their labels right; or train without them."
    images: dict[str, list[int]] = {}
    for split, position, *_ in rows:
        images.setdefault(split, []).append(position)
    return Finding(
        kind="wrong_labels",
        severity="serious" if low > SERIOUS else "warning",
        statement=(
            f"About {suspicion.share:.1%} of the labels are wrong (95 % interval {low:.1%} to {high:.1%}), some "
            f"{round(suspicion.share * total):,} of {total:,}; the most suspicious ones are listed."
        ),
        remedy=Remedy(text, command, settings),
        cost=COST * suspicion.share,
        evidence={"share": suspicion.share, "interval": [low, high], "counted_on": suspicion.counted, "suspects": rows},
        images={split: tuple(positions) for split, positions in images.items()},
        reference="Northcutt et al., Confident learning: estimating uncertainty in dataset labels, JAIR 70, 2021",
    )
