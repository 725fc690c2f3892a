"""What one client may ask of the server, so that it cannot take the server from the others."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rung.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Every bound of the server; each is above 0.

    Attributes:
        body_bytes: of one request's body. More is answered 413.
        held_bytes: of all bodies that are being received or worked on. More is answered 503.
        pixels: of one image before it is decoded, so that a few bytes cannot unfold into gigabytes. More is
            answered 422.
        files: images in one request. More is answered 413.
        requests: that are worked on at once. More are answered 503.
        waiting_images: that wait for the model. More are answered 503.
        patient_images: of explanations that wait for the model. More are answered 503.
        batch_images: that a thread of the model takes at once.
        seconds: from the first byte of a request to its answer. More is answered 408 while the body is still on its
            way, else 504.
        header_seconds: for the head of a request, from the opening of the connection on. Then it is closed.
        header_bytes: of the head of a request. More is answered 431.
        idle_seconds: that a connection may stay open between two requests.
        connections: open at once. More are answered 503.
        shutdown_seconds: that requests in work are given when the server is stopped.
    """

    body_bytes: int = 32 * 2**20
    held_bytes: int = 512 * 2**20
    pixels: int = 40_000_000
    files: int = 128
    requests: int = 256
    waiting_images: int = 2048
    patient_images: int = 2048
    batch_images: int = 8
    seconds: float = 30.0
    header_seconds: float = 10.0
    header_bytes: int = 32 * 2**10
    idle_seconds: int = 15
    connections: int = 1024
    shutdown_seconds: int = 30

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise UsageError(f"the server's limit {field.name} must be above 0, not {getattr(self, field.name)}")
