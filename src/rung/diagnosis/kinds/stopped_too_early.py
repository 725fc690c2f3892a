"""Stopped too early: the schedule had not come to its end, and the loss was still falling."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.consequences import POOR_RESULT
from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.remedies import more_time
from rung.diagnosis.signals import progress_at_end, rate_at_end

EXPLAINS: frozenset[str] = POOR_RESULT | {"not_annealed", "norm_statistics"}

# Share of the planned steps that was made, at most.
SHARE = 0.9


def find(evidence: Evidence) -> Iterator[Finding]:
    """A training that was ended before its learning rate had fallen."""
    # Where the time was given, a slower computer makes fewer steps than planned, and the rate falls with the clock.
    if evidence.status == "finished":
        return
    done, rate = progress_at_end(evidence), rate_at_end(evidence)
    val = evidence.val
    if val is None or not done < SHARE or not rate > 0.05:
        return
    settings = {**more_time(evidence, 1)}
    yield Finding(
        kind="stopped_too_early",
        severity="warning",
        statement=(
            f"Stopped too early: {done:.0%} of the planned steps were made, and the learning rate was still at "
            f"{rate:.0%} "
            f"of its peak; the steps that are left usually bring the most."
        ),
        remedy=Remedy("Let it come to its end.", evidence.command(**settings), settings),
        cost=0.3 * (1 - done),
        evidence={"done": done, "rate": rate, "val_accuracy": val.accuracy, "chart": "accuracy"},
        reference="Smith and Topin, Super-convergence, arXiv:1708.07120",
    )
