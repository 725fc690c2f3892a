"""Where images come from, how they are kept, and how they are split.

    >>> from rung.data import find_source, load
    >>> find_source("digits").summary.total
    1797
    >>> load("digits").train.take([0]).shape
    (1, 8, 8, 1)

How it works, in reading order: ``source.py`` (what a data set is before it is decoded), ``resolve.py`` (from a name or
a path to a source), ``sources/`` (one file a format), ``preprocessing.py`` (from a file to pixels), ``decoding.py`` (all
files, once, into the cache), ``loading.py`` (splits and the finished :class:`Dataset`).
"""

from rung.data.dataset import Dataset, Images, Labels, Split, Unreadable
from rung.data.loading import load, materialise
from rung.data.preprocessing import prepare, read_image
from rung.data.progress import Progress
from rung.data.resolve import find_source
from rung.data.source import DataSummary, Source

__all__ = [
    "DataSummary",
    "Dataset",
    "Images",
    "Labels",
    "Progress",
    "Source",
    "Split",
    "Unreadable",
    "find_source",
    "load",
    "materialise",
    "prepare",
    "read_image",
]
