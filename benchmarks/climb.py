"""What a climb promises: it ends on its budget, naive overfits, the gap closes, and modern is above all others.

    python benchmarks/climb.py cifar10 --budget 15m [--out FOLDER]
    python benchmarks/climb.py --check FOLDER       # of a climb that is there

Prints the table and a line a promise; exits with 1 if one is broken. Run it on an otherwise idle computer.
"""

from __future__ import annotations

import argparse
import sys
import time

from rung.budget import parse_duration
from rung.ladder import Climb, climb
from rung.progress import training_display


def promises(done: Climb, seconds: float | None) -> list[tuple[bool, str]]:
    """Whether each promise is kept, and in which words."""
    steps = {step.name: step for step in done.steps}
    budget = float(done.info["settings"]["budget"])
    used = seconds if seconds is not None else float(done.info["used"])
    kept = [(used <= 1.05 * budget, f"took {used:.0f} s of {budget:.0f} s")]
    repeated = [step.name for step in steps.values() if step.seeds >= 3]
    kept.append((len(repeated) >= 1, f"three seeds or more: {', '.join(repeated) or 'none'}"))
    kept.append((steps["naive"].gap > 0.15, f"naive: training minus validation {100 * steps['naive'].gap:.1f} points"))
    top = list(steps.values())[-2:]
    kept.append((all(s.gap < 0.05 for s in top), "gaps of the top: " + ", ".join(f"{100 * s.gap:.1f}" for s in top)))
    lower = list(steps.values())[: list(steps).index("modern")]  # "pretrained" may stand above it.
    below = max(lower, key=lambda step: step.test_accuracy or 0)
    kept.append(((below.test_accuracy or 0) > 0.76, f"best below modern: {below.name}, test {below.test_accuracy:.1%}"))
    modern = steps["modern"]
    assert modern.test_interval is not None and below.test_interval is not None
    above = modern.test_interval[0] > below.test_interval[1]
    kept.append((above, f"modern: test {modern.test_accuracy:.1%}, from {modern.test_interval[0]:.1%}"))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="cifar10")
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--out")
    parser.add_argument("--check", help="the folder of a climb that is there")
    arguments = parser.parse_args()
    start, seconds = time.monotonic(), None
    if arguments.check:
        done = Climb(arguments.check)
    else:
        parse_duration(arguments.budget)
        done = climb(arguments.data, arguments.budget, out=arguments.out, display=training_display())
        seconds = time.monotonic() - start
    for step in done.steps:
        change = f"{100 * step.change.difference:+.1f}" if step.change else ""
        print(
            f"{step.name:10} seeds {step.seeds} train {step.train_accuracy:.1%} val {step.val_accuracy:.1%} "
            f"test {step.test_accuracy:.1%} {change} ({step.parameters:,} weights, {step.epochs:.1f} epochs, "
            f"{step.seconds:.1f} s)"
        )
    kept = promises(done, seconds)
    for good, words in kept:
        print("kept  " if good else "BROKEN", words)
    sys.exit(0 if all(good for good, _ in kept) else 1)


if __name__ == "__main__":
    main()
