"""Shortcut: a border, a stamp or a single pixel tells the class, so that the network need not look at what is shown."""

from __future__ import annotations

from collections.abc import Iterator

from rung.diagnosis.evidence import Evidence
from rung.diagnosis.finding import Finding, Remedy
from rung.diagnosis.look import Hint

EXPLAINS: frozenset[str] = frozenset()

# Points by which the part must tell the class better than any such part elsewhere in the image, at the lower end of its
# interval, and better than always giving the commonest answer.
BETTER, ABOVE_CHANCE = 0.05, 0.08


def find(evidence: Evidence) -> Iterator[Finding]:
    """The frame, the patch at the border and the pixel that tell the class best; the best of them is reported."""
    hints = evidence.look.hints if evidence.look else ()
    telling = [
        hint
        for hint in hints
        if hint.interval[0] > hint.elsewhere + BETTER and hint.interval[0] > hint.chance + ABOVE_CHANCE
    ]
    if not telling:
        return
    # The smallest part that tells nearly as much says best where to look.
    most = max(hint.accuracy for hint in telling)
    hint = min((hint for hint in telling if hint.accuracy > most - 0.1), key=_area)
    low, high = hint.interval
    top, left, bottom, right = hint.box
    yield Finding(
        kind="shortcut",
        severity="serious",
        statement=(
            f"A shortcut: {hint.where} alone ({_span('row', top, bottom)}, {_span('column', left, right)}) tells the "
            f"class of {hint.accuracy:.0%} of the images (95 % interval {low:.0%} to {high:.0%}); nowhere else does "
            f"such a part tell more than {hint.elsewhere:.0%}, and guessing gets {hint.chance:.0%}."
        ),
        remedy=Remedy(
            "Look at this part of images of several classes; crop it away, or paint it over in all images alike, "
            "because images without it would be answered wrong."
        ),
        cost=hint.accuracy - hint.elsewhere,
        evidence={
            "box": list(hint.box),
            "accuracy": hint.accuracy,
            "interval": [low, high],
            "elsewhere": hint.elsewhere,
            "chance": hint.chance,
        },
        reference="Geirhos et al., Shortcut learning in deep neural networks, Nature Machine Intelligence 2, 2020",
    )


def _area(hint: Hint) -> int:
    top, left, bottom, right = hint.box
    return (bottom - top) * (right - left)


def _span(name: str, first: int, end: int) -> str:
    return f"{name} {first}" if end == first + 1 else f"{name}s {first} to {end - 1}"
