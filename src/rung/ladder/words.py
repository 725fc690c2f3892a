"""A climb in plain words: what the model below lacked, what the idea is for, what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rung.ladder.results import Difference, StepResult

# Findings about what the climb decides for every training.
IMPOSED = ("stopped_too_early", "too_few_steps", "wasted_time")
# Gap between training and validation accuracy from which a model knows its images rather than their classes.
OVERFITS = 0.05
ONE_SEED = ", of these two networks: with one seed each it says nothing of other trainings"


def problem_of(below: StepResult, findings: Sequence[dict[str, Any]], remedies: Sequence[str] = ()) -> str:
    """What was wrong with the step below.

    Args:
        below: that step.
        findings: its diagnosis, worst first.
        remedies: kinds of findings that the idea put on it is a remedy for: the first of these is told, or else the
            first of all that is more than a note, or else what its accuracies say.
    """
    real = [f for f in findings if f.get("severity") in ("serious", "warning") and f.get("statement")]
    # How long a training lasts is the climb's choice.
    real = [f for f in real if f.get("kind") not in IMPOSED]
    meant = [f for f in real if f.get("kind") in remedies]
    if meant or real:
        return f"{below.name}: {(meant or real)[0]['statement']}"
    train, val = f"{below.train_accuracy:.1%}", f"{below.val_accuracy:.1%}"
    if below.gap > OVERFITS:
        return (
            f"{below.name} gets {train} of its training images right and {val} of new ones: it knows images "
            "rather than classes."
        )
    if below.train_accuracy < 0.95:
        return f"{below.name} gets only {train} of its own training images right: it has not learnt enough."
    return f"{below.name} has no clear problem: {train} on training images, {val} on new ones."


def verdict(purpose: str, change: Difference | None, down: bool = False) -> str:
    """What an idea did here, or for a climb down, what it is worth there."""
    if change is None:
        return "The measure of all others." if down else "The start."
    size = f"{100 * abs(change.difference):.1f} points"
    interval = f"95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    # With one seed each nobody knows what training again would have changed.
    interval += ONE_SEED if change.scope == "images" else ""
    if not change.distinguishable:
        what = "Taking it away changed" if down else "It did not measurably help here: it changed"
        chance = "which is no more than chance"
        if not change.low <= 0 <= change.high:
            chance = f"which can be chance among so many comparisons (adjusted p = {change.p_value:.2f})"
        return f"{what} the accuracy by {100 * change.difference:+.1f} points, {chance} ({interval})."
    if down:
        return f"Without it {'the accuracy falls' if change.difference < 0 else 'it gains'} by {size} ({interval})."
    if change.difference > 0:
        return f"It helped here: {size} more on validation images ({interval})."
    return f"It did not help here: it cost {size} ({interval})."
