"""``rung diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rung.cli.app import STARTED, Json, Quiet, app, print_json, say, seed_in_range


@app.command()
def diagnose(
    target: Annotated[str, typer.Argument(help="A run folder, or data: a name or a path.")],
    budget: Annotated[str | None, typer.Option(help="Time for a diagnosis of data. Default: 1m.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make for a diagnosis of data. Default: diagnoses/NAME-DATE-TIME.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels, for data. Default: kept, or chosen.")] = None,
    seed: Annotated[int, typer.Option(help="Of samples, parts and weights.", callback=seed_in_range)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: one a core.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a run or with data, and what to do about it."""
    from rung.pipeline import diagnose as examine
    from rung.progress import SilentDisplay, training_display

    found = examine(
        target,
        budget,
        out=out,
        image_size=image_size,
        seed=seed,
        device=device,
        threads=threads,
        display=SilentDisplay() if quiet else training_display(),
        started=STARTED,
    )
    if as_json:
        print_json(found.to_dict())
        return
    for finding in found.findings:
        say(f"{finding.severity.upper()}  {finding.statement}")
        say(f"  To do: {finding.remedy.text}")
        if finding.remedy.command:
            say(f"         {finding.remedy.command}")
    if not found.findings:
        say("Nothing found.")
    for path in found.lists:
        say(f"List:   {path}")
    say(f"Report: {found.report}")
