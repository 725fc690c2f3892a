"""Where images come from, how they are kept, and how they are split.

    >>> from rung.data import find_source, load
    >>> find_source("digits").summary.total
    1797
    >>> load("digits").train.take([0]).shape
    (1, 8, 8, 1)

How it works, in reading order: ``source.py`` (what a data set is before it is decoded), ``resolve.py`` (from a
name or a path to a source), ``sources/`` (one file a format), ``preprocessing.py`` (from a file to pixels),
``decoding.py`` (all files, once, into the cache), ``loading.py`` (splits and the finished :class:`Dataset`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rung.data.dataset import Dataset as Dataset
    from rung.data.dataset import Images as Images
    from rung.data.dataset import Labels as Labels
    from rung.data.dataset import Split as Split
    from rung.data.dataset import Unreadable as Unreadable
    from rung.data.loading import load as load
    from rung.data.loading import materialise as materialise
    from rung.data.preprocessing import prepare as prepare
    from rung.data.preprocessing import read_image as read_image
    from rung.data.resolve import find_source as find_source
    from rung.data.source import DataSummary as DataSummary
    from rung.data.source import Source as Source

# Where each public name is defined. They are imported when they are used, because starting up is on the user's clock.
_HOMES = {
    "DataSummary": "source",
    "Dataset": "dataset",
    "Images": "dataset",
    "Labels": "dataset",
    "Source": "source",
    "Split": "dataset",
    "Unreadable": "dataset",
    "find_source": "resolve",
    "load": "loading",
    "materialise": "loading",
    "prepare": "preprocessing",
    "read_image": "preprocessing",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
