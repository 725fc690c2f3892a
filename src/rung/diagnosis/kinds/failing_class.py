"""A metric that hides a failing class: the accuracy looks fine, but one class is never found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.signals import learnt, recalls
from rung.evaluation.intervals import wilson

EXPLAINS: frozenset[str] = frozenset({"overfitting"})

# Recall of the class over the mean recall of the others, at most; answers over images, at most; images, at least.
RECALL, ANSWERS, IMAGES = 0.5, 0.25, 10
# Training images of the class over the median of the classes from which it is rare. A class that is not should be
# found, too, by a network with this mean recall of the others and so much of the loss learnt; until then, its turn may
# be to come.
RARE, OTHERS, LEARNT = 0.25, 0.7, 0.65


def find(evidence: Evidence) -> Iterator[Finding]:
    """Classes that the network hardly ever answers, though there are images of them."""
    val = evidence.val
    if val is None:
        return
    recall, images, answers = recalls(val)
    taught = np.bincount(evidence.train.labels, minlength=len(recall)) if evidence.train else np.ones(len(recall))
    ripe = not learnt(evidence) < LEARNT
    failing = []
    for k in range(len(recall)):
        others = np.delete(recall, k)[np.delete(images, k) > 0]
        if images[k] < IMAGES or not len(others) or answers[k] > ANSWERS * images[k]:
            continue
        rare = taught[k] <= RARE * np.median(taught)
        upper = wilson(float(recall[k] * images[k]), int(images[k]))[1]
        low = recall[k] if rare else upper
        if low <= RECALL * others.mean() and (rare or (ripe and others.mean() >= OTHERS)):
            failing.append(k)
    if not failing or len(failing) > len(recall) / 3:
        return
    worst = min(failing, key=lambda k: recall[k])
    name = evidence.classes[worst] if worst < len(evidence.classes) else str(worst)
    more = f", and {len(failing) - 1} more class{'es' if len(failing) > 2 else ''}" if len(failing) > 1 else ""
    wrong = val.positions[(val.labels == worst) & (val.probabilities.argmax(1) != worst)]
    yield Finding(
        kind="failing_class",
        severity="warning",
        statement=(
            f"The accuracy of {val.accuracy:.1%} hides that {name!r} is hardly ever found: {recall[worst]:.0%} of its "
            f"{images[worst]:.0f} validation images{more}; the macro recall is {recall[images > 0].mean():.1%}."
        ),
        remedy=Remedy(f"Collect more training images of {name!r}, or look whether its labels are right."),
        cost=float(sum((recall.mean() - recall[k]) * images[k] for k in failing) / images.sum()),
        evidence={
            "class": name,
            "recall": float(recall[worst]),
            "images": float(images[worst]),
            "classes": len(failing),
        },
        images={"val": tuple(int(position) for position in wrong[:24])},
        reference="He and Garcia, Learning from imbalanced data, IEEE TKDE 21 (2009)",
    )
