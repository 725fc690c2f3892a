"""Distribution shift: training and test images come from different places."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy

EXPLAINS: frozenset[str] = frozenset()

# Accuracy of telling the splits apart that the interval must exceed; above the second, accuracies measured on the test
# split say little about images like those of the training split.
ACCURACY, STRONG = 0.55, 0.75


def find(evidence: Evidence) -> Iterator[Finding]:
    """The classifier two-sample test on simple features."""
    shift = evidence.look.shift if evidence.look else None
    if shift is None or shift.interval[0] < ACCURACY:
        return
    what, first, second = shift.differs
    low, high = shift.interval
    yield Finding(
        kind="distribution_shift",
        severity="serious" if low > STRONG else "warning",
        statement=(
            f"Training and test images differ: a linear classifier tells from which of the two an image is in "
            f"{shift.accuracy:.0%} of the cases (95 % interval {low:.0%} to {high:.0%}; a coin: 50 %); what differs "
            f"most is {what}, {first:.0f} against {second:.0f}."
        ),
        remedy=Remedy(
            "If the network will meet images like the test images, add such images to the training split; if not, cut "
            "the test split from the same images as the training split, by leaving it out of the data."
        ),
        cost=(shift.accuracy - 0.5) / 4,
        evidence={
            "accuracy": shift.accuracy,
            "interval": [low, high],
            "differs": what,
            "train": first,
            "test": second,
            "images": shift.images,
        },
        reference="Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017",
    )
