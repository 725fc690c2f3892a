"""How the commands print an evaluation."""

from __future__ import annotations

from typing import Any

from rung.cli.app import say


def print_scores(values: dict[str, Any]) -> None:
    """Accuracy with its interval, and the best and the weakest class; ``values`` as in ``evaluation.json``."""
    low, high = values["accuracy_interval"]
    say(
        f"Test accuracy {values['accuracy']:.2%} (95 % interval {low:.1%} to {high:.1%}, "
        f"{values['test_images']:,} images), macro F1 {values['macro_f1']:.3f}"
    )
    # Of a class without images nothing is known.
    seen = sorted((scores for scores in values["per_class"] if scores["support"]), key=lambda scores: scores["f1"])
    if seen and seen[0]["f1"] < seen[-1]["f1"]:
        worst, best = seen[0], seen[-1]
        say(f"Best class {best['name']} (F1 {best['f1']:.3f}), weakest {worst['name']} (F1 {worst['f1']:.3f})")
