"""Indistinct classes: two names for what looks the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.evaluation.intervals import wilson

EXPLAINS: frozenset[str] = frozenset()

# Accuracy between two classes alone, the smaller weighing as much as the larger, below which they cannot be told apart;
# and the images of each that this must stand on.
ACCURACY, LEAST = 0.65, 20
# Validation accuracy from which a single run is asked: a weak one confuses classes that others tell apart.
TRUSTED = 0.6


def find(evidence: Evidence) -> Iterator[Finding]:
    """Pairs of classes whose unseen images are told apart hardly better than by a coin."""
    known = evidence.out_of_fold or evidence.val
    classes = len(evidence.classes)
    if known is None or classes < 2:
        return
    answers = known.probabilities.argmax(1)
    table = np.bincount(known.labels * classes + answers, minlength=classes * classes).reshape(classes, classes)
    overall = float(np.diag(table).sum() / max(1, table.sum()))
    for first in range(classes):
        for second in range(first + 1, classes):
            part = table[np.ix_([first, second], [first, second])]
            totals = part.sum(1)
            if totals.min() < LEAST or part.sum() < 0.5 * table[[first, second]].sum():
                continue
            accuracy = float((np.diag(part) / totals).mean())
            trials = int(2 * totals.min())
            low, high = wilson(round(accuracy * trials), trials)
            # Where nothing can be told from anything, that is another problem.
            if high >= ACCURACY or overall < (1.2 / classes if evidence.out_of_fold else TRUSTED):
                continue
            names = evidence.classes[first], evidence.classes[second]
            wrong = int(part[0, 1] + part[1, 0])
            yield Finding(
                kind="indistinct_classes",
                severity="warning",
                statement=(
                    f"{names[0]} and {names[1]} cannot be told apart: of their unseen images that were given one of "
                    f"the two names, {accuracy:.0%} got the right one (95 % interval {low:.0%} to {high:.0%}; a coin: "
                    "50 %)."
                ),
                remedy=Remedy(
                    f"Look at images of both: if people cannot tell {names[0]} from {names[1]} either, merge the two, "
                    "or agree on what separates them and label again; if they can, larger images may show it."
                ),
                cost=wrong / int(table.sum()),
                evidence={"classes": list(names), "accuracy": accuracy, "interval": [low, high], "confused": wrong},
                reference="Tsipras et al., From ImageNet to image classification, ICML 2020 (arXiv:2005.11295)",
            )
