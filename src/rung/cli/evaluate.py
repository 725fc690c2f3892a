"""``rung evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.cli.app import Json, Quiet, app, print_json
from rung.cli.scores import print_scores


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[str | None, typer.Option(help="Other images with the same classes, all of them used.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a run again, on its test split or on other data."""
    from rung.pipeline import evaluate as measure
    from rung.progress import SilentDisplay, training_display
    from rung.runs import Run

    display = SilentDisplay() if quiet else training_display()
    result = measure(Run(run), data, display=display)
    if as_json:
        print_json({"run": str(run), **result.to_dict()})
    else:
        print_scores(result.to_dict())
