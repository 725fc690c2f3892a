"""The charts that show what findings about a training rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rung.diagnosis.finding import Finding
from rung.report.charts import LineChart, Series, line_chart
from rung.runs import Epoch
from rung.training.recordings import Recordings

POINTS = 160  # points a curve of steps keeps
HEIGHT = 190


def chart_findings(
    findings: Sequence[Finding], history: Sequence[Epoch], recordings: Recordings | None
) -> dict[int, LineChart]:
    """A chart for each finding whose evidence names one (``"chart"``), by the finding's place.

    Args:
        findings: of a run, worst first.
        history: its rows.
        recordings: what was seen inside its network, where something was.
    """
    drawn = {}
    for place, finding in enumerate(findings):
        draw = _CHARTS.get(str(finding.evidence.get("chart")))
        chart = draw(history, recordings or Recordings()) if draw else None
        if chart is not None:
            drawn[place] = chart
    return drawn


def _accuracy(history: Sequence[Epoch], recordings: Recordings) -> LineChart | None:
    if len(history) < 2:
        return None
    return line_chart(
        "Accuracy, %",
        "",
        [row.epoch for row in history],
        [
            Series("training", "train", [row.train_accuracy for row in history]),
            Series("validation", "val", [row.val_accuracy for row in history]),
        ],
        low=0.0,
        high=1.0,
        percent=True,
        height=HEIGHT,
    )


def _loss(history: Sequence[Epoch], recordings: Recordings) -> LineChart | None:
    losses = recordings.losses
    if len(losses) < 2:
        return None
    places = np.unique(np.linspace(0, len(losses) - 1, min(POINTS, len(losses))).astype(int))
    # One loss that is a thousand times the others would press them onto the axis.
    known = losses[np.isfinite(losses)]
    top = float(min(known.max(), 30 * np.median(known))) if len(known) else None
    shown = [float(losses[place]) for place in places]
    return line_chart(
        "Training loss of single steps, nats",
        "",
        [float(place + 1) for place in places],
        [Series("training", "train", shown)],
        x_label="step",
        low=0.0,
        high=top,
        height=HEIGHT,
    )


def _gradients(history: Sequence[Epoch], recordings: Recordings) -> LineChart | None:
    if recordings.gradients.shape[0] < 1 or recordings.gradients.shape[1] < 2:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.log10(np.nanmedian(recordings.gradients, 0))
    return line_chart(
        "Gradient of each layer, first to last, powers of ten",
        "",
        [float(layer + 1) for layer in range(len(sizes))],
        [Series("gradient", "train", [float(size) for size in sizes])],
        x_label="layer",
        height=HEIGHT,
    )


def _share(name: str, title: str, worst: Callable[..., np.ndarray]) -> Callable[..., LineChart | None]:
    def draw(history: Sequence[Epoch], recordings: Recordings) -> LineChart | None:
        table = getattr(recordings, name)
        if not table.size or len(table) < 2:
            return None
        return line_chart(
            title,
            "",
            [float(step + 1) for step in recordings.steps],
            [Series("worst layer", "val", [float(value) for value in worst(table, axis=1)])],
            x_label="step",
            low=0.0,
            high=1.0,
            percent=True,
            height=HEIGHT,
        )

    return draw


_CHARTS: dict[str, Callable[[Sequence[Epoch], Recordings], LineChart | None]] = {
    "accuracy": _accuracy,
    "loss": _loss,
    "gradients": _gradients,
    "dead": _share("dead", "Dead channels of the worst layer, %", np.max),
    "saturated": _share("saturated", "Saturated outputs of the worst layer, %", np.max),
    "spread": _share("spread", "How much the least responsive layer depends on the image, %", np.min),
}
