"""``rung serve``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rung.cli.app import Json, app, print_json, say


@app.command()
def serve(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for one that is free.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="RUNG_TOKEN", help="Asked of every request. Safer as $RUNG_TOKEN.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A site whose pages may use the server (CORS). Default: none.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that requests may address the server by.")
    ] = None,
    examples: Annotated[bool, typer.Option(help="Whether training and test images may be shown.")] = True,
    as_json: Json = False,
) -> None:
    """Serve a run over HTTP, with a web page, until Ctrl-C."""
    from rung.serving.server import is_loopback
    from rung.serving.server import serve as start

    def started(address: str) -> None:
        if as_json:
            print_json({"run": str(run), "url": address})
        else:
            say(f"Serving {run} at {address} (Ctrl-C stops it)")
        sys.stdout.flush()
        if token is None and not is_loopback(host):
            say("rung: everyone who reaches this address may use it; set RUNG_TOKEN to ask for a token", error=True)

    start(
        run,
        host=host,
        port=port,
        token=token,
        origins=allow_origin or (),
        hosts=allow_host or (),
        examples=examples,
        started=started,
    )
