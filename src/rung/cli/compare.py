"""``rung compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rung.cli.app import Json, app, print_json, say

if TYPE_CHECKING:
    from rung.evaluation.compared import Comparison


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, trained on the same data; the first is the baseline.")
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write the comparison to this file, as a page with pictures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare runs image by image: how much better, where, at what price."""
    from rung.pipeline import compare as against_the_first

    comparison = against_the_first(*runs, html=html)
    if as_json:
        print_json(comparison.to_dict())
        return
    _print(comparison)
    if html is not None:
        say(f"Page: {html}")


def _print(comparison: Comparison) -> None:
    from rung.report import text
    from rung.report.comparison import sentence, signed

    width = max(len(run.name) for run in comparison.runs)
    say(f"{comparison.data}, {comparison.images:,} test images")
    say()
    say(f"{'':{width}}  accuracy  log loss   ECE  Brier  parameters  mult-adds    bytes  training")
    for run in comparison.runs:
        say(
            f"{run.name:{width}}  {run.accuracy:8.2%}  {run.log_loss:8.3f}  {run.calibration_error:4.1%}  "
            f"{run.brier:5.3f}  {text.number(run.parameters):>10}  {text.number(run.multiply_adds):>9}  "
            f"{text.number(run.bytes):>7}  {text.duration(run.seconds)}"
        )
    for one in comparison.against:
        say()
        say(sentence(one, comparison.runs[0].name))
        adjusted = f", adjusted for {len(comparison.against)} comparisons" if len(comparison.against) > 1 else ""
        low, high = one.scores["accuracy"].interval
        say(
            f"  McNemar's p {_p(one.p_value)}{adjusted}; bootstrap interval {signed(low)} to {signed(high)}; "
            f"{len(one.gained):,} images only it gets right, {len(one.lost):,} only the first"
        )
        for name, title in (
            ("log_loss", "log loss"),
            ("brier", "Brier score"),
            ("overconfidence", "overconfidence"),
        ):
            change = one.scores[name]
            shown = [f"{value:+.3f}".replace("-", "−") for value in (change.difference, *change.interval)]
            say(f"  {title} {shown[0]} ({shown[1]} to {shown[2]})")
        ordered = sorted(one.classes, key=lambda row: row.recall.difference)
        first, last = ordered[0], ordered[-1]
        for title, row in (
            ("gains most" if last.recall.difference > 0 else "loses least", last),
            ("loses most" if first.recall.difference < 0 else "gains least", first),
        ):
            low, high = row.recall.interval
            say(
                f"  {title}: {row.name} {signed(row.recall.difference)} ({signed(low)} to {signed(high)})"
                + (", beyond chance" if row.p_value < 0.05 else "")
            )
    say()
    say("Every run stands for the one network that it trained: what training again changes is not in the intervals.")


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 0.001 else "below 0.001"
