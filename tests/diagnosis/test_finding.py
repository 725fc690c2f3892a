from __future__ import annotations

import json

import pytest

from rung.diagnosis import Finding, Remedy, worst_first


def finding(kind: str = "overfitting", severity: str = "warning", cost: float = 0.1) -> Finding:
    remedy = Remedy("Add dropout.", "rung train digits --rung dropout", {"rung": "dropout"})
    return Finding(kind, severity, "It overfits.", remedy, cost, {"gap": 0.2}, {"val": (3, 1)}, "a paper")  # type: ignore[arg-type]


def test_a_finding_survives_json() -> None:
    written = json.dumps(finding().to_dict())
    assert Finding.from_dict(json.loads(written)) == finding()


def test_an_unknown_severity_is_refused() -> None:
    with pytest.raises(ValueError, match="'bad' is not one of serious, warning, note"):
        finding(severity="bad")


def test_worst_first_goes_by_severity_then_by_cost() -> None:
    found = [
        finding("a", "note", 0.9),
        finding("b", "warning", 0.1),
        finding("c", "warning", 0.2),
        finding("d", "serious"),
    ]
    assert [each.kind for each in worst_first(found)] == ["d", "c", "b", "a"]


def test_what_is_not_a_number_is_none_in_json() -> None:
    evidence = {"loss": float("nan"), "rows": [1.0, float("inf")], "part": {"name": "a"}}
    finding = Finding("kind", "note", "A statement.", Remedy("Nothing."), evidence=evidence)
    assert finding.to_dict()["evidence"] == {"loss": None, "rows": [1.0, None], "part": {"name": "a"}}
