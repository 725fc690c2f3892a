from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest
import torch

from rung.memory import keeping_freed_memory

STATM = Path("/proc/self/statm")
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not STATM.exists(), reason="needs the GNU C library")


def resident() -> float:
    """MiB of this process that are in memory."""
    return int(STATM.read_text().split()[1]) * 4096 / 2**20


@glibc
def test_freed_memory_is_kept_within_and_given_back_afterwards() -> None:
    with keeping_freed_memory():
        before = resident()
        blocks = [torch.ones(30 * 2**20 // 4) for _ in range(16)]
        del blocks
        assert resident() > before + 200
    assert resident() < before + 60


@glibc
def test_blocks_of_more_than_the_usual_most_are_kept_where_the_library_allows_it() -> None:
    if not ctypes.CDLL(None).mallopt(-3, 2**30):
        pytest.skip("this C library gives large blocks back at once")
    with keeping_freed_memory():
        before = resident()
        blocks = [torch.ones(64 * 2**20 // 4) for _ in range(8)]
        del blocks
        assert resident() > before + 200
    assert resident() < before + 60


@glibc
def test_the_outermost_one_gives_back() -> None:
    with keeping_freed_memory():
        before = resident()
        with keeping_freed_memory():
            blocks = [torch.ones(30 * 2**20 // 4) for _ in range(16)]
            del blocks
        assert resident() > before + 200


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("its library was asked"))
    with keeping_freed_memory():
        assert torch.ones(3).sum() == 3
