"""How long work tells whoever waits for it how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then while something long runs; must return quickly."""

    def __call__(self, description: str, done: int, total: int | None, /) -> None:
        """``done`` of ``total`` steps (images, or bytes of a download) of ``description`` are finished.

        ``total`` is None where the end is not known. The last call has ``done == total``.
        """


def silent(description: str, done: int, total: int | None, /) -> None:
    """A :class:`Progress` that shows nothing."""
