"""Settings of ``rung train`` that several kinds of problems are put right by."""

from __future__ import annotations

from typing import Any

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Remedy

# Seconds of a command that are no training: its start, the evaluation and the report, where nothing else is known.
AROUND = 4.0


def more_time(evidence: Evidence, factor: float) -> dict[str, Any]:
    """``factor`` times the epochs, or the training's part of the budget, whichever the training was given."""
    epochs, budget = evidence.settings.get("epochs"), evidence.settings.get("budget")
    if epochs:
        return {"epochs": float(f"{float(epochs) * factor:.3g}")}
    if not budget:
        return {}
    planned = dict(evidence.plan.get("expected_seconds") or {})
    training = min(float(budget), float(planned.pop("training", max(0.0, float(budget) - AROUND))))
    # On a ladder, the budget of a run is that of its training alone. And where a plan ends early, some is left over.
    around = sum(planned.values()) if evidence.plan.get("ends_early") else float(budget) - training
    around = around or AROUND
    return {"budget": float(f"{around + factor * training:.3g}")}


def default_network(evidence: Evidence) -> dict[str, Any]:
    """rung's own network and recipe; where that is what failed, the same at a lower learning rate."""
    network = evidence.recipe.get("network") or {}
    if evidence.settings.get("rung") in (None, "modern") and network.get("name") == "fast":
        return {"rate_scale": 0.3 * float(evidence.settings.get("rate_scale") or 1.0)}
    return {"rung": None, "rounds": None}


def other_network(evidence: Evidence, words: str) -> Remedy:
    """:func:`default_network` as a remedy; ``words`` say what is better about it, if it was not that one."""
    settings = default_network(evidence)
    if "rate_scale" in settings:
        words = "This is rung's own network already: train it at a lower learning rate."
    return Remedy(words, evidence.command(**settings), settings)


def annealing(evidence: Evidence) -> dict[str, Any]:
    """A rate that falls to zero at the end, as it does by itself; on the ladder from the rung on that has it."""
    return {"rounds": None, "rung": "annealed" if evidence.settings.get("rung") else None}
