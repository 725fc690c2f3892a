"""``rung export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rung.cli.app import Json, Quiet, app, print_json, say

if TYPE_CHECKING:
    from rung.export.exporting import Exported


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option(help="onnx, keras, torch or web.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="File or folder to write. Default: RUN/export/…")] = None,
    quantize: Annotated[str | None, typer.Option(help="int8: an ONNX model that computes with 8-bit numbers.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a run as a file that others can use without rung, checked against the run."""
    from rung.export.exporting import export_run
    from rung.progress import SilentDisplay, training_display

    display = SilentDisplay() if quiet else training_display()
    try:
        made = export_run(run, to, out=out, quantize=quantize, progress=display.progress)
    finally:
        display.finish()
    if as_json:
        print_json(made.to_dict())
    else:
        _print(made)


def _print(made: Exported) -> None:
    say(f"{made.path} ({made.bytes / 1e6:,.1f} MB)")
    agreement = made.agreement
    say(
        f"{'Compared' if made.change else 'Checked'} with {made.engine} on {agreement.images:,} images: the same label "
        f"as the run's weights in float32 on {agreement.same_labels:.2%}, "
        f"probabilities up to {agreement.difference:.1g} apart"
    )
    if made.recorded and made.precision != "float32":
        say(
            f"The run was evaluated in {made.precision}: the same label as recorded then on "
            f"{made.recorded.same_labels:.2%}, probabilities up to {made.recorded.difference:.1g} apart"
        )
    if made.change:
        change = made.change
        low, high = change.interval
        say(
            f"Test accuracy with 8 bits {change.after:.2%} instead of {change.before:.2%}: "
            f"{100 * change.difference:+.2f} points (paired 95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
        )
    if made.note:
        say(made.note)
