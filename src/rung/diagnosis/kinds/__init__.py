"""The kinds of problem, one file each, and the only list of them.

A kind is a module with two names:

- ``find(evidence)``: a pure function that yields a :class:`~rung.diagnosis.finding.Finding` for each problem of that
  kind, and nothing where the evidence that it needs is missing;
- ``EXPLAINS``: the kinds that are consequences of this one. Where both are found, the consequence is named in the
  evidence of its cause (``"also"``) instead of in a finding of its own.

A new kind is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Protocol, cast

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding

NAMES = (
    # While it trained.
    "symmetric_initialisation",
    "exploding_gradients",
    "ignores_its_input",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "vanishing_gradients",
    "saturated_activations",
    "underfitting",
    "dead_units",
    "batch_too_small",
    "batch_too_large",
    "stopped_too_early",
    "too_few_steps",
    "norm_statistics",
    "overfitting",
    "not_annealed",
    "annealed_too_early",
    "wasted_time",
    # What came out.
    "collapsed_predictions",
    "below_majority",
    "failing_class",
    "miscalibration",
    "unstable_result",
    # The data.
    "shuffled_labels",
    "wrong_labels",
    "leaked_test_images",
    "contradictory_duplicates",
    "shortcut",
    "pixel_scale",
    "distribution_shift",
    "class_imbalance",
    "indistinct_classes",
    "too_few_images",
    "unreadable_images",
)


class Kind(Protocol):
    """What a module of this folder has."""

    EXPLAINS: frozenset[str]

    def find(self, evidence: Evidence) -> Iterable[Finding]: ...


def kinds() -> dict[str, Kind]:
    """The modules by the name of their kind, in the order of ``NAMES``."""
    return {name: cast(Kind, import_module(f"{__name__}.{name}")) for name in NAMES}
