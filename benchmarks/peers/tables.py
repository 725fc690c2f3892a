"""What has been measured, as Markdown."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmarks.peers.plan import ALL, PEERS
from benchmarks.peers.running import Row

from rung.budget import parse_duration


def spread(values: Sequence[float], form: str, unit: str = "") -> str:
    """The median, and the range where there are several."""
    text = format(statistics.median(values), form) + unit
    return text if len(values) == 1 else f"{text} ({min(values):{form}}–{max(values):{form}})"


def where(row: Row) -> str:
    held = f", held to {row['isa']}" if row["isa"] else ""
    return f"{row['processor']}, {row['cores']} cores{held}"


def latest(rows: Iterable[Row]) -> list[Row]:
    """Of each peer at each budget on each machine the rows of the last day on which it was measured."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["peer"], row["budget"], where(row)].append(row)
    return [row for group in groups.values() for row in group if row["date"] == max(one["date"] for one in group)]


def comparison(rows: Iterable[Row]) -> str:
    """A table for each machine: peers by budgets, median test accuracy of the last day and its range over the seeds."""
    machines: dict[str, dict[tuple[str, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in latest(row for row in rows if row["until"] is None):
        machines[where(row)][row["peer"], row["budget"]].append(row)
    parts = []
    for machine, cells in machines.items():
        budgets = sorted({budget for _, budget in cells}, key=parse_duration)
        parts.append(f"{machine}:\n\n| | {' | '.join(budgets)} |\n|---|{'---|' * len(budgets)}")
        for peer in ALL:
            texts = [cell(cells.get((peer.name, budget), []), parse_duration(budget)) for budget in budgets]
            if any(texts):
                parts[-1] += f"\n| {peer.title} | {' | '.join(texts)} |"
    return "\n\n".join(parts)


def cell(runs: list[Row], budget: float) -> str:
    done = [run for run in runs if "error" not in run]
    if not done:
        return "failed" if runs else ""
    text = spread([run["accuracy"] for run in done], ".1%")
    seconds = statistics.median(run["wall" if run["peer"] == "rung" else "training_seconds"] for run in done)
    # Whoever took another time than the budget is not to be read as if it had kept it.
    return text if abs(seconds / budget - 1) <= 0.1 else f"{text}, in {seconds:.0f} s"


def reached(rows: Iterable[Row], until: float, seed: int, place: str) -> Row | None:
    """rung's run of the smallest budget that ends at this accuracy or above."""
    runs = [r for r in rows if r["peer"] == "rung" and r["seed"] == seed and where(r) == place and "error" not in r]
    return min((r for r in runs if r["accuracy"] >= until), key=lambda run: parse_duration(run["budget"]), default=None)


def races(rows: Sequence[Row]) -> str:
    """How long each peer trained until an accuracy, against the smallest budget with which rung ends there."""
    groups: dict[tuple[str, float, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row["until"] is not None and row.get("reached_seconds") is not None:
            groups[row["peer"], row["until"], where(row)].append(row)
    lines = [
        "| race | training | command | rung | training | command | times, training | times, command |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (peer, until, place), runs in groups.items():
        # A schedule that was too short in one seed may have been tried longer: the shortest that arrived counts.
        first = {run["seed"]: run for run in sorted(runs, key=lambda run: -run["reached_seconds"])}
        pairs = [(run, ours) for seed, run in first.items() if (ours := reached(rows, until, seed, place))]
        if not pairs:
            continue
        training = [(run["reached_seconds"], ours["training_seconds"]) for run, ours in pairs]
        # The evaluations on the way are the stopwatch's, not the peer's.
        command = [(run["wall"] - run["look_seconds"], ours["wall"]) for run, ours in pairs]
        budgets = sorted({ours["budget"] for _, ours in pairs}, key=parse_duration)
        seconds = [spread(values, ".0f", " s") for both in (training, command) for values in zip(*both, strict=True)]
        ratios = [spread([theirs / mine for theirs, mine in both], ".1f") for both in (training, command)]
        title = f"{PEERS[peer].title} to {until:.0%}; {place}"
        rung = f"`--budget {', '.join(budgets)}`"
        lines.append(f"| {' | '.join((title, seconds[0], seconds[2], rung, seconds[1], seconds[3], *ratios))} |")
    return "\n".join(lines) if len(lines) > 2 else ""
