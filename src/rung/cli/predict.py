"""``rung predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rung.cli.app import Json, Quiet, app, print_json, say

UNREADABLE = 3
"""The exit code where some files could not be read and the rest was done."""


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    paths: Annotated[list[str], typer.Argument(help="Images, folders, patterns, or - for paths on standard input.")],
    form: Annotated[
        str | None,
        typer.Option("--format", help="table, csv, json (lines of it) or parquet. Default: by --output."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File instead of standard output.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with pictures.")] = None,
    top_k: Annotated[int, typer.Option(help="Classes to tell of each image.")] = 3,
    threshold: Annotated[float, typer.Option(help="Answer 'unsure' below this probability, 0 to 1.")] = 0.0,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 for speed.")] = "float32",
    workers: Annotated[int | None, typer.Option(help="Threads that decode. Default: one a core.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say what is on images. Exit code 3: some could not be read, the rest was done."""
    from rung.errors import DataError, UsageError
    from rung.prediction.writing import write_predictions
    from rung.progress import SilentDisplay, training_display

    if as_json and output is None:
        raise UsageError("--json prints a summary, so the answers need a place: add --output, or use --format json")
    # Lines of progress between the lines of a table would only be in the way.
    display = SilentDisplay() if quiet or (output is None and sys.stdout.isatty()) else training_display()
    try:
        done = write_predictions(
            run,
            paths,
            form=form,
            output=output,
            html=html,
            top=top_k,
            threshold=threshold,
            precision=precision,
            workers=workers,
            progress=display.progress,
        )
    finally:
        display.finish()
    if as_json:
        print_json(done.to_dict())
    else:
        for path in (done.output, done.html):
            if path is not None:
                # Standard output is for the answers, which a program may read.
                say(str(path), error=output is None)
    if done.unreadable == done.images:
        raise DataError(f"none of the {done.images:,} files could be read")
    if done.unreadable:
        say(f"rung: {done.unreadable:,} of {done.images:,} files could not be read", error=True)
        raise typer.Exit(UNREADABLE)
