"""``rung serve``: opens the model, binds the port, runs until it is stopped."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import RungError, UsageError
from rung.runs import Run
from rung.serving.limits import Limits

if TYPE_CHECKING:
    import uvicorn

    from rung.serving.predictor import Predictor

DEFAULT_PORT = 8000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve(
    run: Run | str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    token: str | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    examples: bool = True,
    limits: Limits | None = None,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve a run over HTTP, with a web page, until the process is told to stop (Ctrl-C, SIGTERM).

    Requests in work are then finished. ``docs/serve.md`` describes what is served.

    Args:
        run: a finished run, or its folder.
        host: address to listen at; only this computer can reach the default.
        port: 1 to 65535, or 0 for one that is free.
        token: asked of every request, as ``Authorization: Bearer …`` or as a browser's password; by default nothing is.
        origins: sites whose pages may use the server, such as ``https://example.org``; by default none.
        hosts: names that requests may address the server by, such as ``photos.example.org``, besides ``host`` and those
            of this computer. By default every name, if ``host`` is not this computer's own address, and else none.
        examples: whether training and test images may be shown.
        limits: by default :class:`Limits` as it is.
        started: told the address once the server takes requests.

    Raises:
        RunError: the run has no weights, or a file of it is damaged.
        UsageError: an argument makes no sense.
        RungError: the packages for serving are missing, or the address is taken.
    """
    server, listener = prepare(
        run, host=host, port=port, token=token, origins=origins, hosts=hosts, examples=examples, limits=limits
    )
    started(address_of(listener, host))
    server.run(sockets=[listener])


def prepare(
    run: Run | str | os.PathLike[str],
    *,
    host: str,
    port: int,
    token: str | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    examples: bool = True,
    limits: Limits | None = None,
    predictor: Predictor | None = None,
) -> tuple[uvicorn.Server, socket.socket]:
    """The server of :func:`serve`, and the socket that it listens at, which already takes connections.

    ``predictor`` may stand in for the model of the run.
    """
    try:
        import uvicorn

        from rung.serving.app import build_app
        from rung.serving.metrics import Metrics
        from rung.serving.onnx import OnnxPredictor
        from rung.serving.protocol import limited_protocol
        from rung.serving.service import Service
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rung"):
            raise
        raise RungError(
            f"{error.name} is not installed; `pip install 'rung[serve]'` brings what serving needs"
        ) from error
    if token is not None and not (token.strip() == token and token.isascii() and len(token) >= 8):
        raise UsageError("the token must have 8 characters of ASCII or more, and no blanks around them")
    for origin in origins:
        if not origin.startswith(("http://", "https://")) or origin.endswith("/"):
            raise UsageError(f"{origin!r} is not the address of a site; write it like https://example.org")
    # It writes a line about every byte that it did not expect.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    limits = limits or Limits()
    run = run if isinstance(run, Run) else Run(Path(run))
    predictor = predictor or OnnxPredictor.open(run)
    listener = _listen(host, port, limits.connections)
    service = Service(run, predictor, limits, Metrics(), examples=examples)
    allowed = {*_LOOPBACK, host, *hosts} if hosts or is_loopback(host) else None
    config = uvicorn.Config(
        build_app(service, address=address_of(listener, host), token=token, hosts=allowed, origins=origins),
        http=limited_protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
    return uvicorn.Server(config), listener


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach what listens at ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(listener: socket.socket, host: str) -> str:
    """The address for a browser."""
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104 (nothing is bound here)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"the port must be 0 to 65535, not {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # there, it would let another program take the port over
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        raise RungError(
            f"cannot listen at {host} port {port}: {error.strerror or error}; choose another with --host or --port"
        ) from error
    return listener
