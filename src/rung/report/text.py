"""Numbers as people read them. Every function takes None, and shows it as a dash."""

from __future__ import annotations

from typing import Any

DASH = "–"
NARROW = "\N{NARROW NO-BREAK SPACE}"


def percent(share: float | None, digits: int = 1) -> str:
    """0.8734 → "87.3 %". Only a whole reads "100.0 %": 0.99996 is rounded down."""
    if share is None:
        return DASH
    shown = round(share * 100, digits)
    if shown >= 100 > share * 100:
        shown = 100 - 10**-digits
    return f"{shown:.{digits}f}{NARROW}%"


def points(share: float | None, digits: int = 1) -> str:
    """A difference of two shares, in percentage points without a sign: 0.019 → "1.9"."""
    return DASH if share is None else f"{abs(share) * 100:.{digits}f}"


def duration(seconds: float | None) -> str:
    """8.43 → "8.4 s", 118 → "1 min 58 s", 4000 → "1 h 7 min"."""
    if seconds is None:
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f}{NARROW}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NARROW}s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}{NARROW}min" + (f" {rest}{NARROW}s" if rest else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}{NARROW}h" + (f" {minutes}{NARROW}min" if minutes else "")


def count(number: float | None) -> str:
    """45000 → "45,000"; fractions keep two digits at most."""
    if number is None:
        return DASH
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= 1000 else f"{number:.2f}".rstrip("0")


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, large numbers with their unit: 0.4187 → "0.419", 1234567 → "1.23 M"."""
    if value is None:
        return DASH
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{NARROW}{unit}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def humanise(value: Any) -> str:
    """A value of a recipe or of run.json as text: sizes as 32 × 32, true as yes, long numbers shortened."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return count(value) if value.is_integer() and abs(value) >= 10_000 else f"{value:.5g}"
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, list | tuple) for item in value):
            return " | ".join(humanise(item) for item in value)
        return ", ".join(humanise(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {humanise(item)}" for name, item in value.items()) or "none"
    return str(value)
