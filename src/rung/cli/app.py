"""The application that the commands hang on, and what they share."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from typing import Annotated, Any

import typer

from rung import __version__
from rung.errors import RungError, UsageError
from rung.seeds import check_seed
from rung.terminal import harmless

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
    """What ``--json`` promises: one object on standard output, in ASCII, which every terminal and pipe can take."""
    print(json.dumps(value))


def say(line: str = "", *, error: bool = False) -> None:
    """Print a line for people. Names of files and classes in it cannot steer the terminal."""
    print(harmless(line), file=sys.stderr if error else sys.stdout)


def seed_in_range(seed: int) -> int:
    """The callback of every ``--seed``.

    Raises:
        UsageError: it is out of its range.
    """
    check_seed(seed)
    return seed


def refuse_beside(context: typer.Context, option: str, *, but: tuple[str, ...] = ("quiet", "as_json")) -> None:
    """Refuse what was given on the command line and has no effect beside ``option``.

    Args:
        context: of the command.
        option: the parameter of the command that makes the others useless.
        but: the parameters that keep their effect.

    Raises:
        UsageError: there is one; it is named.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in (option, *but):
            told = parameter.opts[0] if parameter.param_type_name == "option" else name.upper()
            raise UsageError(f"--{option} goes on with what was asked for then, so {told} has no effect; leave it out")


def main() -> None:
    """The ``rung`` command: exit code 0 done, 1 failed, 2 wrong usage, 130 interrupted (which Typer sees to)."""
    # How long a thread spins before it sleeps, in milliseconds, with LLVM's and Intel's OpenMP (read when torch is
    # imported). Their 200 take the core that another program has given the thread it waits for. GNU's OpenMP does best
    # as it is: with a short spin, steps take a fifth longer on an idle computer (benchmarks/2026-11-25.md).
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    _tolerate()
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


def _tolerate() -> None:
    """Let no character end the work: one that a terminal or pipe cannot show, or a file's name that is no UTF-8."""
    streams = ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace"))
    for stream, errors in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _leave(code: int) -> None:
    """End the process. Taking torch apart in order takes up to a second of the budget, and everything is written."""
    sys.stdout.flush()
    sys.stderr.flush()
    if "torch" in sys.modules:
        os._exit(code)
    sys.exit(code)


def _fail(message: str, code: int) -> None:
    say(f"rung: {message}", error=True)
    sys.exit(code)
