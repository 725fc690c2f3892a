"""The command line: parses, calls one public function, prints. It decides nothing of its own."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rung import __version__
from rung.errors import RungError, UsageError

if TYPE_CHECKING:
    from rung.runs import Run

# The budget runs from pressing Enter. The interpreter's start is before the first line of Python that can
# look at a clock, but it shows as processor time.
STARTED = time.monotonic() - time.process_time()

app = typer.Typer(
    name="rung",
    help="Train the most accurate CNN that this computer can make from labelled images in the time you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rung {__version__}")
        raise typer.Exit


@app.callback()
def rung(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="digits, cifar10, cifar100, mnist, fashion-mnist, or a path.")] = "digits",
    budget: Annotated[
        str | None, typer.Option(help="Time for everything, such as 90s, 2m or 1h30m. Default: 2m.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images, instead of a budget.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, orders and augmentation.")] = 0,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels. Default: kept, or planned.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make. Default: runs/NAME-DATE-TIME.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this stopped run instead.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16. Default: the faster, measured.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: one a core.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Peak memory, such as 900M or 2G.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Plan, train, evaluate and report, all within the budget."""
    from rung.pipeline import resume as go_on
    from rung.pipeline import train as start
    from rung.progress import SilentDisplay, training_display

    display = SilentDisplay() if quiet else training_display()
    if resume is not None:
        run = go_on(resume, display=display, started=STARTED)
    else:
        run = start(
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
            display=display,
            started=STARTED,
        )
    _print_evaluation(run, as_json)
    if run.status == "interrupted":
        raise typer.Exit(130)


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
        _print_json({"run": str(run), **result.to_dict()})
    else:
        _print_scores(result.to_dict())


def _print_evaluation(run: Run, as_json: bool) -> None:
    values = run.evaluation.to_dict()
    if as_json:
        _print_json({"run": str(run.path), "report": str(run.path / "report.html"), **values})
        return
    _print_scores(values)
    print(f"Report: {run.path / 'report.html'}")


def _print_scores(values: dict[str, Any]) -> None:
    low, high = values["accuracy_interval"]
    print(
        f"Test accuracy {values['accuracy']:.2%} (95 % interval {low:.1%} to {high:.1%}, "
        f"{values['test_images']:,} images), macro F1 {values['macro_f1']:.3f}"
    )
    worst = min(values["per_class"], key=lambda scores: scores["f1"])
    best = max(values["per_class"], key=lambda scores: scores["f1"])
    print(f"Best class {best['name']} (F1 {best['f1']:.3f}), weakest {worst['name']} (F1 {worst['f1']:.3f})")


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


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


def main() -> None:
    """The ``rung`` command: exit code 0 done, 1 failed, 2 wrong usage, 130 interrupted (which Typer sees to)."""
    # A thread that waits for another one by spinning takes the core that the other one needs as soon as some
    # other program is busy: steps then take four times as long, with these settings (of GNU's and of LLVM's
    # OpenMP, read when torch is imported) twice.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    try:
        try:
            app()
        except SystemExit as ending:
            _leave(ending.code if isinstance(ending.code, int) else 0)
    except UsageError as error:
        _fail(str(error), 2)
    except RungError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        # Whoever read the output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _leave(code: int) -> None:
    """End the process. Taking torch apart in order takes up to a second of the budget, and everything is written."""
    sys.stdout.flush()
    sys.stderr.flush()
    if "torch" in sys.modules:
        os._exit(code)
    sys.exit(code)


def _fail(message: str, code: int) -> None:
    print(f"rung: {message}", file=sys.stderr)
    sys.exit(code)
