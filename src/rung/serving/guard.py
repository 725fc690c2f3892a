"""The door: every request passes here before the application, and every answer on its way out.

It lets in who may come in, so many at a time and for so long, and puts on every answer the headers that tell a browser
to trust nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Collection
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rung.serving.limits import Limits
from rung.serving.metrics import Metrics
from rung.serving.refusal import Refusal, busy

OPEN = frozenset({"/health", "/v2/health/live", "/v2/health/ready"})
"""What may be asked without a token: whether the server is there."""

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), payment=(), usb=()"),
]
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """ASGI middleware around the application.

    Args:
        app: what is guarded.
        limits: how many requests at once, and for how long.
        metrics: told of every answer.
        token: asked of every request but those to :data:`OPEN`, as a bearer token or as the password of basic
            authentication (which browsers ask their users for); None asks for nothing.
        hosts: names that the ``Host`` header may have, without port; None allows all. A page of another site can
            make a browser send requests to this machine under a name of its own (DNS rebinding); this tells them apart.
        origins: sites whose pages may read answers (CORS); their requests are not refused for coming from elsewhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        *,
        token: str | None = None,
        hosts: Collection[str] | None = None,
        origins: Collection[str] = (),
    ) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._token = None if token is None else _digest(token)
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        state = {"status": 0, "received": False}

        async def watched_receive() -> Message:
            message = await receive()
            state["received"] = not message.get("more_body", False)
            return message

        async def dressed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                message["headers"] = _dressed(message.get("headers", []))
            await send(message)

        self._working += 1
        try:
            self._admit(scope)
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, watched_receive, dressed_send)
        except Refusal as refusal:
            await _answer(refusal, dressed_send)
        except TimeoutError:
            if state["status"]:
                raise
            late = (
                Refusal(504, "the answer took too long; send fewer images", close=True)
                if state["received"]
                else Refusal(408, "the request took too long to arrive", close=True)
            )
            await _answer(late, dressed_send)
        finally:
            self._working -= 1
            self._metrics.answered(scope, int(state["status"]), time.perf_counter() - start)

    def _admit(self, scope: Scope) -> None:
        """Raises Refusal for a request that may not come in."""
        headers = {name: value for name, value in scope["headers"] if name in _ASKED}
        if self._hosts is not None and _host(headers.get(b"host", b"")) not in self._hosts:
            raise Refusal(421, "this server does not answer under that name", close=True)
        if self._token is not None and not self._is_open(scope):
            given = _digest(_given(headers.get(b"authorization", b"")))
            if not hmac.compare_digest(given, self._token):
                raise _Unauthorised()
        foreign = headers.get(b"sec-fetch-site") == b"cross-site" and scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if foreign and headers.get(b"origin", b"").decode("latin-1") not in self._origins:
            raise Refusal(403, "pages of other sites may not use this server", close=True)
        if self._working > self._limits.requests and scope["path"] not in OPEN:
            refusal = busy(f"{self._limits.requests} requests are being worked on")
            refusal.close = True
            raise refusal

    def _is_open(self, scope: Scope) -> bool:
        # A browser asks whether it may ask (CORS) without the token that it would then send.
        return scope["path"] in OPEN or (bool(self._origins) and scope["method"] == "OPTIONS")


class _Unauthorised(Refusal):
    def __init__(self) -> None:
        super().__init__(401, "this server wants its token: Authorization: Bearer …", close=True)

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "www-authenticate": 'Basic realm="rung", charset="UTF-8"'}


_ASKED = frozenset({b"host", b"authorization", b"sec-fetch-site", b"origin"})


def _dressed(headers: Any) -> list[tuple[bytes, bytes]]:
    found = list(headers)
    names = {name.lower() for name, _ in found}
    found += _HEADERS
    found += [header for header in (_POLICY, _NO_STORE) if header[0] not in names]
    return found


async def _answer(refusal: Refusal, send: Send) -> None:
    body = refusal.body
    headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _host(value: bytes) -> str:
    """The name in a ``Host`` header, without the port: ``[::1]:80`` is ``::1``."""
    text = value.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _given(authorization: bytes) -> str:
    """The token in an ``Authorization`` header; empty where there is none."""
    scheme, _, value = authorization.decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8", "replace").partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


def _digest(token: str) -> bytes:
    """Of one length whatever the token's, so that comparing two tells nothing about either."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
