"""``rung climb``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rung.cli.app import STARTED, Json, Quiet, app, print_json, refuse_beside, say, seed_in_range
from rung.errors import UsageError

if TYPE_CHECKING:
    from rung.ladder import Climb


@app.command()
def climb(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="digits, cifar10, cifar100, mnist, fashion-mnist, or a path.")] = "digits",
    budget: Annotated[str | None, typer.Option(help="Time for everything, such as 90s or 15m. Default: 10m.")] = None,
    equal: Annotated[str, typer.Option(help="What all trainings have in common: time or epochs.")] = "time",
    auto: Annotated[bool, typer.Option("--auto", help="Let each model's worst finding pick the next idea.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Take one idea at a time out of the modern rung.")] = False,
    seed: Annotated[int, typer.Option(help="Of the first run of each rung.", callback=seed_in_range)] = 0,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels. Default: kept, or planned.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to make. Default: runs/climb-NAME-DATE-TIME.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this stopped climb instead.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16. Default: the faster, measured.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: one a core.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train every rung from the naive CNN to the modern one, and compare them."""
    from rung.ladder import climb as start
    from rung.ladder import resume as go_on
    from rung.progress import SilentDisplay, training_display

    if resume is not None:
        refuse_beside(context, "resume")
    if auto and down:
        raise UsageError("--auto and --down contradict each other; give one of them")
    mode: Literal["ladder", "auto", "down"] = "auto" if auto else "down" if down else "ladder"
    display = SilentDisplay() if quiet else training_display()
    if resume is not None:
        done = go_on(resume, display=display, started=STARTED)
    else:
        done = start(
            data,
            budget,
            mode=mode,
            equal=equal,
            seed=seed,
            image_size=image_size,
            out=out,
            device=device,
            precision=precision,
            threads=threads,
            display=display,
            started=STARTED,
        )
    if as_json:
        print_json(done.to_dict())
    else:
        _print_table(done)
    if done.status == "interrupted":
        raise typer.Exit(130)


def _print_table(done: Climb) -> None:
    steps = done.steps
    width = max((len(step.name) for step in steps), default=4)
    say(f"{'':{width}}  seeds  parameters  train   val     test    change on validation (95 %)")
    for step in steps:
        test = "   -   " if step.test_accuracy is None else f"{step.test_accuracy:6.1%} "
        change = ""
        if step.change is not None:
            low, high = 100 * step.change.low, 100 * step.change.high
            change = f"{100 * step.change.difference:+5.1f} ({low:+.1f} to {high:+.1f})"
            change += "" if step.change.distinguishable else ", may be chance"
        say(
            f"{step.name:{width}}  {step.seeds:5}  {step.parameters:10,}  {step.train_accuracy:6.1%}  "
            f"{step.val_accuracy:6.1%}  {test} {change}"
        )
    if any(step.change is not None and step.change.scope == "images" for step in steps):
        say("With one seed each, an interval is of these two networks and says nothing of other trainings.")
    say(f"Report: {done.path / 'report.html'}")
