"""``rung train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rung.cli.app import STARTED, Json, Quiet, app, print_json, refuse_beside, say, seed_in_range
from rung.cli.scores import print_scores
from rung.errors import UsageError

if TYPE_CHECKING:
    from rung.runs import Run


@app.command()
def train(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="digits, cifar10, cifar100, mnist, fashion-mnist, or a path.")] = "digits",
    budget: Annotated[
        str | None, typer.Option(help="Time for everything, such as 90s, 2m or 1h30m. Default: 2m.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images, instead of a budget.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, orders and augmentation.", callback=seed_in_range)] = 0,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels. Default: kept, or planned.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make. Default: runs/NAME-DATE-TIME.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this stopped run instead.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16. Default: the faster, measured.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: one a core.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Peak memory, such as 900M or 2G.")] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="CSV list of training and validation images to leave out.")
    ] = None,
    rung: Annotated[
        str | None,
        typer.Option(help="A rung of the ladder, naive to modern or pretrained, instead of the planner's choice."),
    ] = None,
    rounds: Annotated[
        str | None,
        typer.Option(help="Learning rates, as 1e-3,1e-4,1e-5: each round from the best weights so far."),
    ] = None,
    rate_scale: Annotated[float | None, typer.Option(help="Factor of every learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step. Default: planned.")] = None,
    augment: Annotated[str | None, typer.Option(help="none, normal or strong: how images are varied.")] = None,
    width: Annotated[float | None, typer.Option(help="Factor of the channels of every layer.")] = None,
    pretrained: Annotated[
        str, typer.Option(help="auto, always or never: start from a network that knows photographs.")
    ] = "auto",
    backbone: Annotated[str | None, typer.Option(help="Which such network: efficientnet-lite0, or timm:NAME.")] = None,
    learns: Annotated[str | None, typer.Option(help="What of it learns: head, upper or all. Default: planned.")] = None,
    folds: Annotated[
        int | None, typer.Option(help="Estimate the accuracy by so many folds of all images as well.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Apply the remedy of the worst finding and train again, within the budget.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Plan, train, evaluate and report, all within the budget."""
    if resume is not None:
        refuse_beside(context, "resume")
    from rung.pipeline import resume as go_on
    from rung.pipeline import train as start
    from rung.pipeline import train_and_fix
    from rung.progress import SilentDisplay, training_display

    display = SilentDisplay() if quiet else training_display()
    if resume is not None:
        run = go_on(resume, display=display, started=STARTED)
    else:
        run = (train_and_fix if fix else start)(
            data,
            budget,
            epochs=epochs,
            seed=seed,
            image_size=image_size,
            out=out,
            device=device,
            precision=precision,
            threads=threads,
            max_memory=None if max_memory is None else _bytes(max_memory),
            exclude=exclude,
            rung=rung,
            rounds=None if rounds is None else _rates(rounds),
            rate_scale=rate_scale,
            batch_size=batch_size,
            augment=augment,
            width=width,
            pretrained=pretrained,
            backbone=backbone,
            learns=learns,
            folds=folds,
            display=display,
            started=STARTED,
        )
    _print_run(run, as_json)
    if run.status == "interrupted":
        raise typer.Exit(130)


def _print_run(run: Run, as_json: bool) -> None:
    values = run.evaluation.to_dict()
    if as_json:
        print_json({"run": str(run.path), "report": str(run.path / "report.html"), **values})
        return
    print_scores(values)
    say(f"Report: {run.path / 'report.html'}")


def _rates(text: str) -> list[float]:
    """``1e-3,1e-4`` as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{text!r} is not a list of learning rates; write it like 1e-3,1e-4,1e-5") from error


def _bytes(text: str) -> float:
    """``900M`` or ``2G`` as bytes."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = units.get(number[-1:], 1)
    try:
        value = float(number[:-1] if unit > 1 else number) * unit
    except ValueError:
        value = 0.0
    if not 0 < value < 2**60:
        raise UsageError(f"{text!r} is not an amount of memory; write it like 900M or 2G")
    return value
