"""Memory that one step frees is kept for the next, instead of being given back to the system.

The GNU C library returns large blocks to the system as soon as they are free, and gets them anew, page by page, each
page cleared, when the next step asks for the same sizes again. For small networks, which move much memory for little
arithmetic, that is a quarter of a training step and more (``benchmarks/2026-11-25.md``).
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Options of mallopt(3). The library raises the threshold to 32 MiB by itself, but then trims at twice of that.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_USUAL = 32 * 2**20
# More than any layer of a step puts out. Old versions of the library refuse it, and take no more than their usual most.
_LARGEST = 2**30

_depth = 0


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Within it, freed blocks stay with the process; afterwards what is free is given back.

    It holds for the whole process and may be nested. With other C libraries than GNU's (macOS, Windows, musl) it does
    nothing.
    """
    global _depth
    library = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    _depth += 1
    if library and _depth == 1:
        if not library.mallopt(_MMAP_THRESHOLD, _LARGEST):
            library.mallopt(_MMAP_THRESHOLD, _USUAL)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        _depth -= 1
        if library and _depth == 0:
            library.mallopt(_MMAP_THRESHOLD, _USUAL)
            library.mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
            library.malloc_trim(0)
