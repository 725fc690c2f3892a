"""What a diagnosis says: one problem, its evidence and its remedy, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["serious", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")


@dataclass(frozen=True)
class Remedy:
    """What to do about a problem.

    Attributes:
        text: a sentence that tells a person what to do.
        command: the command line that does it, where there is one.
        settings: the keyword arguments of :func:`rung.train` that do it, where there are some; what
            ``rung train --fix`` applies.
    """

    text: str
    command: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        kind: the field's name of it, in lower case with underscores, such as ``"overfitting"``.
        severity: ``"serious"`` (the result cannot be relied on, or loses much), ``"warning"`` (it costs accuracy), or
            ``"note"`` (good to know).
        statement: one sentence with its numbers.
        remedy: what to do about it.
        cost: points of accuracy (0 to 1) that it is estimated to cost; orders findings of the same severity.
        evidence: the figures behind the statement, plain JSON values by name.
        images: positions that show it, by split name (``"train"``, ``"val"``, ``"test"``), most telling first; a pair
            of positions that belong together is a list of two ``[split, position]`` in ``pairs`` of ``evidence``.
        reference: the paper or text that describes the problem or the way to find it.
    """

    kind: str
    severity: Severity
    statement: str
    remedy: Remedy
    cost: float = 0.0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reference: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"{self.severity!r} is not one of {', '.join(SEVERITIES)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON, which has no word for what is not a number: None."""
        images = {split: list(positions) for split, positions in self.images.items()}
        return {**asdict(self), "images": images, "evidence": _finite(dict(self.evidence))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or has a wrong type.
        """
        images = {split: tuple(positions) for split, positions in values["images"].items()}
        return cls(**{**values, "remedy": Remedy(**values["remedy"]), "images": images})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in the order in which a person should read them."""
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.cost)))
