"""Command lines to copy."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence


def command_line(words: Sequence[str]) -> str:
    """The words as one line that the usual shell of this system splits into the same words."""
    # Windows takes single quotes for letters.
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
