"""The application that the commands hang on, and what they share."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Annotated, Any

import typer

from rung import __version__
from rung.errors import RungError, UsageError

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


def print_json(value: Any) -> None:
    """What ``--json`` promises: one object on standard output."""
    print(json.dumps(value, ensure_ascii=False))


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
