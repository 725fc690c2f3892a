"""Lengths of time as people write them: ``2m``, ``90s``, ``1h30m``."""

from __future__ import annotations

import math
import re

from rung.errors import UsageError

_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_DURATION = re.compile(
    rf"(?:{_NUMBER}\s*(?:h|hr|hrs|hour|hours))?\s*"
    rf"(?:{_NUMBER}\s*(?:m|min|mins|minute|minutes))?\s*"
    rf"(?:{_NUMBER}\s*(?:s|sec|secs|second|seconds))?",
    re.ASCII | re.IGNORECASE,
)
_BARE = re.compile(_NUMBER, re.ASCII)

# Longer than any duration worth writing; keeps a pasted file out of the error message and the regular expression.
_LONGEST = 64


def parse_duration(value: str | float) -> float:
    """The seconds in ``value``.

    Args:
        value: a number (of seconds), or text: hours, minutes and seconds in this order, each at most once and
            each with its unit, such as ``"2m"``, ``"90s"``, ``"1h30m"``, ``"1.5 h"`` or ``"2 min 5 s"``. Text
            that is a number alone counts seconds. Units may be in upper or lower case.

    Returns:
        Seconds, finite and above 0.

    Raises:
        UsageError: ``value`` is not a length of time, or is not above 0.
    """
    seconds = _parse_text(value) if isinstance(value, str) else _parse_number(value)
    if seconds is None or not math.isfinite(seconds):
        raise UsageError(f"{_shown(value)} is not a length of time; write it like 90s, 2m or 1h30m")
    if seconds <= 0:
        raise UsageError(f"a length of time must be above 0, not {_shown(value)}; write it like 90s, 2m or 1h30m")
    return seconds


def format_duration(seconds: float) -> str:
    """``seconds`` for a person: ``"0.4 s"``, ``"42 s"``, ``"2 min 5 s"``, ``"1 h 30 min"``.

    Below 10 s it is rounded to tenths, below an hour to seconds, above to minutes; :func:`parse_duration` reads
    it back. A negative length has a minus sign in front. What is not finite is ``"unknown"``.
    """
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        parts = [(minutes, "min"), (rest, "s")]
    else:
        hours, rest = divmod(round(seconds / 60), 60)
        parts = [(hours, "h"), (rest, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _parse_text(text: str) -> float | None:
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    if _BARE.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = (float(part) if part else 0.0 for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _parse_number(value: float) -> float | None:
    # bool is an int to Python; a budget of True is a mistake, not one second.
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python is willing to write
        return "that"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
