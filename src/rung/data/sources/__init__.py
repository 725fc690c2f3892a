"""One file a format. To add one, write a module with ``recognise(path) -> Reader | None`` and list it here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rung.data.source import Reader
from rung.data.sources import cifar, folder, idx, npz, parquet

FORMATS: tuple[Callable[[Path], Reader | None], ...] = (
    cifar.recognise,
    idx.recognise,
    parquet.recognise,
    npz.recognise,
    folder.recognise,
)
"""Asked in this order; the first that recognises a path reads it. ``folder`` takes every folder, so it is last."""
