"""What `rung train` delivers for a budget: accuracy, kept promises, memory. One row a run, one line a budget.

    python benchmarks/budgets.py cifar10 15s 30s 1m 2m --seeds 3
    python benchmarks/budgets.py cifar10 1m --busy          # another program takes a core from the middle on
    python benchmarks/budgets.py cifar10 30s --busy all     # another program computes on all cores, all the time
    python benchmarks/budgets.py cifar10 2m --pretrained auto      # from a pretrained network where that is planned

Every run is a whole command in a process of its own, timed from outside. Rows are appended to
``benchmarks/results/budgets.jsonl``; ``--table`` prints everything measured so far as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rung.budget import parse_duration

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.beside import CONVOLVE, LOOP, beside
from benchmarks.commands import rung_train

RESULTS = Path(__file__).parent / "results" / "budgets.jsonl"
# What a table says of what ran beside.
BESIDE: dict[bool | str, str] = {False: "", True: " with a busy core", "all": " with all cores busy"}


def measure(data: str, budget: str, seed: int, busy: bool | str, pretrained: str) -> dict[str, Any]:
    """Run one command; with ``busy`` a second process computes from half the budget on, with ``"all"`` all the time."""
    with beside(*([CONVOLVE] if busy == "all" else [])):
        time.sleep(5 if busy == "all" else 0)
        return _measure(data, budget, seed, busy, pretrained)


def _measure(data: str, budget: str, seed: int, busy: bool | str, pretrained: str) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp())
    command = rung_train(data, budget, folder / "run", "--seed", str(seed), "--pretrained", pretrained)
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    if busy is True:
        time.sleep(parse_duration(budget) / 2)
    assert process.stdout is not None
    with beside(*([LOOP] if busy is True else [])):
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    result = json.loads(output)
    info = json.loads((folder / "run" / "run.json").read_text())
    shutil.rmtree(folder)
    plan = info["plan"]
    low, high = plan["expected_accuracy_interval"]
    return {
        "data": data,
        "budget": budget,
        "seed": seed,
        "busy": busy,
        "pretrained": pretrained,
        "wall": round(wall, 2),
        "accuracy": result["accuracy"],
        "val_accuracy": result["val_accuracy"],
        "train_accuracy": result["train_accuracy"],
        "expected": round(plan["expected_accuracy"], 4),
        "expected_interval": [round(low, 4), round(high, 4)],
        "covered": low <= result["accuracy"] <= high,
        "network": plan["network"],
        "epochs": round(info["outcome"]["epochs"], 2),
        "training_share": round(result["seconds"] / wall, 3),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "timings": {name: round(seconds, 2) for name, seconds in info["timings"].items()},
        "processor": info["hardware"]["processor"],
        "precision": info["hardware"]["precision"],
        "gflops": round(info["hardware"]["gflops"]),
        "date": time.strftime("%Y-%m-%d"),
    }


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown: a table for each day and machine."""
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        days.setdefault(f"{row['date']}, {row['processor']}, {row['precision']}", []).append(row)
    return "\n\n".join(f"{day}:\n\n{table(measured)}" for day, measured in days.items())


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line for each data set, budget and condition, medians over seeds."""
    lines = [
        "| command | seeds | accuracy | each | wall clock | within 5 % | expected covers | epochs | training | peak |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, bool | str, str], list[dict[str, Any]]] = {}
    for row in rows:
        key = row["data"], row["budget"], row["busy"], row.get("pretrained", "never")
        groups.setdefault(key, []).append(row)
    for (data, budget, busy, pretrained), runs in groups.items():
        seconds = parse_duration(budget)
        accuracies = [run["accuracy"] for run in runs]
        walls = [run["wall"] for run in runs]
        training = statistics.median(run["training_share"] for run in runs)
        kept = sum(abs(wall / seconds - 1) <= 0.05 for wall in walls)
        lines.append(
            f"| `rung train {data} --budget {budget} --pretrained {pretrained}`{BESIDE[busy]} "
            f"| {len(runs)} "
            f"| {statistics.median(accuracies):.2%} | {', '.join(f'{a:.2%}' for a in accuracies)} "
            f"| {', '.join(f'{wall:.1f} s' for wall in walls)} | {kept} of {len(runs)} "
            f"| {sum(run['covered'] for run in runs)} of {len(runs)} "
            f"| {statistics.median(run['epochs'] for run in runs):.1f} "
            f"| {training:.0%} | {max(run['peak_mib'] for run in runs)} MiB |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="cifar10")
    parser.add_argument("budgets", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--busy", nargs="?", choices=("middle", "all"), const="middle")
    parser.add_argument("--pretrained", choices=("never", "auto"), default="never", help="default: from scratch")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    busy = "all" if arguments.busy == "all" else arguments.busy is not None
    for budget in arguments.budgets:
        for seed in range(arguments.seeds):
            row = measure(arguments.data, budget, seed, busy, arguments.pretrained)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    if arguments.table:
        print(tables([json.loads(line) for line in RESULTS.read_text().splitlines()]))


if __name__ == "__main__":
    main()
