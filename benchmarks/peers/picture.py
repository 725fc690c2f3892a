"""Accuracy against seconds: rung's frontier, and a point for every measurement of a peer."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from benchmarks.peers.plan import ALL
from benchmarks.peers.running import Row
from benchmarks.peers.tables import latest, where

from rung.budget import parse_duration


def points(rows: Iterable[Row], machine: str) -> dict[str, list[tuple[float, float]]]:
    """For each peer its seconds and test accuracy at every budget, medians over the seeds of the last day.

    rung's seconds are those of the whole command, everybody else's those of the training.
    """
    runs: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in latest(row for row in rows if row["until"] is None and "error" not in row):
        if where(row) == machine:
            runs[row["peer"]][row["budget"]].append(row)

    def point(done: list[Row]) -> tuple[float, float]:
        seconds = [row["wall" if row["peer"] == "rung" else "training_seconds"] for row in done]
        return statistics.median(seconds), statistics.median(row["accuracy"] for row in done)

    return {
        peer: [point(budgets[budget]) for budget in sorted(budgets, key=parse_duration)]
        for peer, budgets in runs.items()
    }


def draw(rows: list[Row], path: Path) -> None:
    """Write the picture of the machine that was measured last."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    machine = where(rows[-1])
    measured = points(rows, machine)
    figure, axes = plt.subplots(figsize=(9, 5.2), dpi=110, layout="constrained")
    for number, peer in enumerate(ALL):
        if peer.name not in measured:
            continue
        seconds, accuracies = zip(*measured[peer.name], strict=True)
        ours = peer.name == "rung"
        axes.plot(
            seconds,
            [100 * accuracy for accuracy in accuracies],
            marker="o" if ours else "vs^D<>pXP*"[number - 1],
            linewidth=2.6 if ours else 1,
            markersize=8 if ours else 6,
            color="#0b62b4" if ours else plt.get_cmap("tab10")((number - 1) % 10),
            alpha=1 if ours else 0.85,
            label="rung, whole command" if ours else peer.title,
            zorder=3 if ours else 2,
        )
    axes.set_xscale("log")
    budgets = sorted({parse_duration(row["budget"]) for row in rows if row["until"] is None})
    axes.set_xticks(budgets, [f"{b:.0f} s" if b < 60 else f"{b / 60:g} min" for b in budgets])
    axes.minorticks_off()
    axes.set_xlabel("rung: seconds from pressing Enter to the report. The others: seconds of training alone")
    axes.set_ylabel("test accuracy on CIFAR-10 (JPEG), %")
    axes.set_title(machine, fontsize=10, loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path)
