"""Settings of ``rung train`` that several kinds of problems are put right by."""

from __future__ import annotations

from typing import Any

from rung.diagnosis.evidence import Evidence


def more_time(evidence: Evidence, factor: float) -> dict[str, Any]:
    """``factor`` times the epochs, or the budget, whichever the training was given."""
    epochs, budget = evidence.settings.get("epochs"), evidence.settings.get("budget")
    if epochs:
        return {"epochs": float(f"{float(epochs) * factor:.3g}")}
    return {"budget": float(f"{float(budget) * factor:.3g}")} if budget else {}


def default_network(evidence: Evidence) -> dict[str, Any]:
    """rung's own network and recipe; where that is what failed, the same at a lower learning rate."""
    network = evidence.recipe.get("network") or {}
    if evidence.settings.get("rung") in (None, "modern") and network.get("name") == "fast":
        return {"rate_scale": 0.3 * float(evidence.settings.get("rate_scale") or 1.0)}
    return {"rung": None, "rounds": None}


def annealing(evidence: Evidence) -> dict[str, Any]:
    """A rate that falls to zero at the end, as it does by itself; on the ladder from the rung on that has it."""
    return {"rounds": None, "rung": "annealed" if evidence.settings.get("rung") else None}
