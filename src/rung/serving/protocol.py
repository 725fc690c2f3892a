"""uvicorn's HTTP connection with what it leaves open: deadlines and sizes of what comes before the application.

uvicorn waits for the head of a request for ever and keeps all of it, so that a client that sends a byte a minute
(Slowloris) or an endless header costs it a connection or its memory; and once a request is answered before its body
is there, it does not ask when the rest will come. Here a connection has so many seconds for a head
and so many bytes for it, a message can never be longer than a body may be, and there are only so many connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rung.serving.limits import Limits
from rung.serving.refusal import Refusal, busy

FRAMING = 2**20  # bytes a message may need on top of its head and body, such as the sizes of chunks

_PHRASES = {431: "Request Header Fields Too Large", 503: "Service Unavailable"}


def limited_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """The class of connections for ``uvicorn.Config(http=…)`` that holds ``limits``."""

    class LimitedProtocol(HttpToolsProtocol):
        head_timer: asyncio.TimerHandle | None = None
        in_head = True
        message_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._turn_away(busy("too many connections are open"))
                return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if self.in_head and self.head_timer is None:
                self._await_head()  # of the next request on this connection
            self.message_bytes += len(data)
            super().data_received(data)
            if self.in_head and self.message_bytes > limits.header_bytes:
                self._turn_away(Refusal(431, "the head of the request is too long"))
            elif self.message_bytes > limits.header_bytes + limits.body_bytes + FRAMING:
                self.transport.close()

        def on_message_begin(self) -> None:
            self.in_head = True
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self.in_head:  # what follows a body (trailers) is of no use here
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self.in_head = False
            self._stop_timer()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self.in_head, self.message_bytes = True, 0
            super().on_message_complete()

        def on_response_complete(self) -> None:
            rest_to_come = not self.in_head and not self.pipeline
            super().on_response_complete()
            if rest_to_come and self.head_timer is None:
                # Each byte of a body ends uvicorn's own timer. This one goes on until the head of another request.
                self.head_timer = self.loop.call_later(limits.idle_seconds, self.transport.close)

        def _await_head(self) -> None:
            self.head_timer = self.loop.call_later(limits.header_seconds, self.transport.close)

        def _stop_timer(self) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

        def _turn_away(self, refusal: Refusal) -> None:
            self._stop_timer()
            head: dict[str, Any] = {**refusal.headers, "content-length": len(refusal.body), "connection": "close"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            self.transport.write(
                f"HTTP/1.1 {refusal.status} {_PHRASES[refusal.status]}\r\n{lines}\r\n".encode() + refusal.body
            )
            self.transport.close()

    return LimitedProtocol
