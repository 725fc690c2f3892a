"""Geometry of the charts: numbers in, SVG coordinates out. ``templates/charts.jinja`` draws them.

Charts are drawn as markup instead of pictures, so they follow the reader's light or dark theme, stay crisp
in print, and can be read by the page's script and by screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, isfinite, log10

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 10, 26  # room for the tick labels


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis: ``at`` in SVG units."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One curve: ``path`` is SVG path data, ``points`` the places of its values (for few values, drawn as dots)."""

    name: str
    style: str
    path: str
    points: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True)
class LineChart:
    """Curves over a common x axis, in a box of ``width`` × ``height`` SVG units."""

    title: str
    key: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM
    hover: tuple[float, ...] = field(default=())


@dataclass(frozen=True)
class Series:
    """Values of one curve; ``style`` names its colour in the style sheet (``train``, ``val``, ``rate`` …)."""

    name: str
    style: str
    values: Sequence[float]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) between ``low`` and ``high``, at most ``most``."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
    first = floor(low / step)
    if first * step < low - 1e-9 * step:
        first += 1
    found = []
    while first * step <= high + 1e-9 * step:
        found.append(round(first * step, 12))
        first += 1
    return found


def label(value: float, percent: bool = False) -> str:
    """A tick's text: 0.5 → "0.5", 0.001 → "1e-3", 0.8 as a percentage → "80"."""
    if percent:
        return f"{value * 100:g}"
    if value and abs(value) < 0.01:
        digits, power = f"{value:.2e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:g}"


def line_chart(
    title: str,
    key: str,
    x: Sequence[float],
    series: Sequence[Series],
    *,
    x_label: str = "epoch",
    low: float | None = None,
    high: float | None = None,
    percent: bool = False,
    height: int = HEIGHT,
) -> LineChart:
    """Lay out curves.

    Args:
        title: what is measured, with its unit.
        key: name of the chart for the page's script.
        x: shape (n,), rising, n > 0.
        series: the curves, n values each; values that are not finite leave a gap.
        x_label: what x counts.
        low, high: ends of the y axis; without them the values decide.
        percent: the values are shares and are labelled in percent.
        height: of the whole chart, in SVG units.
    """
    values = [v for one in series for v in one.values if isfinite(v)] or [0.0, 1.0]
    bottom = min(values) if low is None else low
    top = max(values) if high is None else high
    if top - bottom < 1e-12:
        top, bottom = top + (abs(top) or 1.0) * 0.5, bottom - (abs(bottom) or 0.0) * 0.5
    y_ticks = ticks(bottom, top, 5 if height > 150 else 2)
    start = min(x[0], 0.0)
    span = (x[-1] - start) or 1.0

    def across(value: float) -> float:
        return round(LEFT + (value - start) / span * (WIDTH - LEFT - RIGHT), 1)

    def down(value: float) -> float:
        share = min(max((value - bottom) / (top - bottom), 0.0), 1.0)
        return round(height - BOTTOM - share * (height - BOTTOM - TOP), 1)

    lines = []
    for one in series:
        points = tuple((across(a), down(v)) for a, v in zip(x, one.values, strict=True) if isfinite(v))
        path = "M" + "L".join(f"{a} {v}" for a, v in points) if points else ""
        last = next((v for v in reversed(one.values) if isfinite(v)), None)
        shown = "" if last is None else (f"{last * 100:.1f} %" if percent else label(float(f"{last:.3g}")))
        lines.append(Line(one.name, one.style, path, points if len(points) <= 12 else (), shown))
    return LineChart(
        title=title,
        key=key,
        x_label=x_label,
        x_ticks=tuple(Tick(across(value), label(value)) for value in ticks(start, x[-1], 6)),
        y_ticks=tuple(Tick(down(value), label(value, percent)) for value in y_ticks),
        lines=tuple(lines),
        height=height,
        bottom=height - BOTTOM,
        hover=tuple(across(value) for value in x),
    )
