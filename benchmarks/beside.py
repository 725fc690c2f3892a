"""Programs that others share the cores with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# One that computes on a single core, and one that does on all of them, as another training would.
LOOP = "while True: pass"
CONVOLVE = "import torch\nx, w = torch.ones(64, 64, 32, 32), torch.ones(64, 64, 3, 3)\nwhile True: torch.conv2d(x, w)"


@contextmanager
def beside(*programs: str) -> Iterator[None]:
    """Within it, these Python programs run, each in a process of its own."""
    processes = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
