"""An unstable result: the same training with another seed comes out differently."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.signals import noise

EXPLAINS: frozenset[str] = frozenset()

# Trainings, at least; deviation in standard errors of an accuracy; and points from best to worst.
RUNS, ERRORS, RANGE = 3, 2.0, 0.03


def find(evidence: Evidence) -> Iterator[Finding]:
    """Validation accuracies of runs beside this one that differ in their seed alone."""
    val = evidence.val
    if val is None or len(evidence.other_seeds) + 1 < RUNS:
        return
    all_of_them = [val.accuracy, *evidence.other_seeds]
    deviation, extent = statistics.stdev(all_of_them), max(all_of_them) - min(all_of_them)
    if deviation < ERRORS * noise(val) or extent < RANGE:
        return
    settings = {"rate_scale": 0.5 * float(evidence.settings.get("rate_scale") or 1.0)}
    yield Finding(
        kind="unstable_result",
        severity="warning",
        statement=(
            f"An unstable result: {len(all_of_them)} trainings that differ in their seed alone reach "
            f"{min(all_of_them):.1%} to "
            f"{max(all_of_them):.1%} of the validation images, more than chance explains."
        ),
        remedy=Remedy(
            "Quote the mean of several seeds; half the learning rate usually steadies it.",
            evidence.command(**settings),
            settings,
        ),
        cost=deviation,
        evidence={"accuracies": all_of_them, "deviation": deviation, "noise": noise(val)},
        reference="Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021",
    )
