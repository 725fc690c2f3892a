"""Underfitting: the network is too small for the task, however long it trains."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.signals import learnt

EXPLAINS: frozenset[str] = frozenset(
    {
        "below_majority",
        "collapsed_predictions",
        "dead_units",
        "failing_class",
        "ignores_its_input",
        "miscalibration",
        "vanishing_gradients",
        "wasted_time",
    }
)

# Channels of the narrowest layer for each class, at most; share of the loss that was learnt, at most; and steps, at
# least.
CHANNELS, LEARNT, STEPS = 0.5, 0.75, 100
WIDEST = 16.0  # that rung train takes for --width


def find(evidence: Evidence) -> Iterator[Finding]:
    """A layer so narrow that the classes do not fit through it, in a network that has not learnt its own images."""
    recordings, train, val = evidence.recordings, evidence.train, evidence.val
    if recordings is None or train is None or val is None or len(recordings.widths) < 2:
        return
    width, classes = int(recordings.widths[:-1].min()), len(evidence.classes)
    if width > CHANNELS * classes or learnt(evidence) > LEARNT or len(recordings.losses) < STEPS:
        return
    factor = 2.0 ** math.ceil(math.log2(max(2.0, 2 * classes / width)))
    # The run may have a width of its own already, and what rung train takes for one ends somewhere.
    before = float(evidence.settings.get("width") or 1.0)
    factor = min(8.0, factor, WIDEST / before)
    settings = {"width": factor * before}
    remedy = Remedy(f"Take a network {factor:g} times as wide.", evidence.command(**settings), settings)
    if factor <= 1:
        remedy = Remedy("Take a larger network: this one is as wide as --width makes it.")
    yield Finding(
        kind="underfitting",
        severity="serious",
        statement=(
            f"Underfitting for lack of capacity: {classes} classes go through a layer of {width} channels, and even on "
            f"training images it is right in only {train.accuracy:.1%}."
        ),
        remedy=remedy,
        cost=0.3,
        evidence={
            "narrowest_layer": width,
            "classes": classes,
            "train_accuracy": train.accuracy,
            "val_accuracy": val.accuracy,
            "steps": len(recordings.losses),
            "chart": "accuracy",
        },
        reference="Goodfellow, Bengio and Courville, Deep Learning, MIT Press 2016, section 5.2",
    )
