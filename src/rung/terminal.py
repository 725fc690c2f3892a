"""Text of others on a terminal."""

from __future__ import annotations

# Control characters start escape sequences, separators make lines, and marks of direction reorder what is around them.
_STEERING = (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HARMLESS = dict.fromkeys(_STEERING, "\N{REPLACEMENT CHARACTER}")


def harmless(text: str) -> str:
    """``text`` as one line without anything that steers a terminal; as long as before."""
    return text.translate(_HARMLESS)
