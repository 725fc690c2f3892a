"""The steps of a climb: what is trained, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rung.data.dataset import Dataset
from rung.data.probe import Probe
from rung.diagnosis.finding import Finding
from rung.training.ablations import ABLATIONS
from rung.training.recipe import Recipe
from rung.training.rungs import LADDER, RUNGS, Rung, compose

Mode = Literal["ladder", "auto", "down"]
MODES: tuple[Mode, ...] = ("ladder", "auto", "down")


@dataclass(frozen=True)
class Step:
    """One model of a climb.

    Attributes:
        name: of the step, and of its run folders.
        idea: what it changes, a phrase.
        purpose: what that is supposed to do, a sentence.
        below: name of the step that it is compared with; None for the first.
        recipe: how it is trained, or None where the planner decides.
        change: what is done to the planner's recipe; None as result: there is nothing to change.
    """

    name: str
    idea: str
    purpose: str
    below: str | None
    recipe: Recipe | None = None
    change: Callable[[Recipe], Recipe | None] | None = None


def ladder_steps(dataset: Dataset, probe: Probe) -> list[Step]:
    """All rungs in their order, each compared with the one below it; whether the last is worth it, its plan tells."""
    names = [None, *(rung.name for rung in RUNGS)]
    return [_step(rung, below, rung.recipe(dataset, probe)) for rung, below in zip(RUNGS, names, strict=False)]


def down_steps() -> list[Step]:
    """The modern rung, and what remains of it without each of its ideas."""
    top = LADDER[-1]
    without = [Step(a.name, a.idea, a.purpose, top.name, change=a.remove) for a in ABLATIONS]
    return [_step(top, None, None), *without]


def first_step(dataset: Dataset, probe: Probe) -> Step:
    """The naive rung, on which ideas are put one after the other."""
    return _step(LADDER[0], None, LADDER[0].recipe(dataset, probe))


def next_step(
    below: Step, kept: Sequence[str], tried: Sequence[str], findings: Sequence[Finding], dataset: Dataset, probe: Probe
) -> Step | None:
    """The idea that the findings ask for.

    Args:
        below: the best step so far, on which the idea is put.
        kept: names of the rungs whose ideas it has.
        tried: names of the rungs that have been tried.
        findings: what its diagnosis found, worst first.
        dataset, probe: what it is trained on.

    Returns:
        The rung whose idea is a remedy for the first finding that has an untried one, where the ideas that it needs
        are there; where no finding has any, the lowest untried rung; None when all have been tried.
    """
    possible = [rung for rung in LADDER if rung.name not in tried and set(rung.needs) <= set(kept)]
    for finding in findings:
        for rung in possible:
            if finding.kind in rung.remedies and rung.add is not None:
                return _step(rung, below.name, compose([*kept, rung.name], dataset, probe))
    if not possible:
        return None
    rung = possible[0]
    return _step(rung, below.name, compose([*kept, rung.name], dataset, probe) if rung.add else None)


def _step(rung: Rung, below: str | None, recipe: Recipe | None) -> Step:
    return Step(rung.name, rung.idea, rung.purpose, below, recipe)
