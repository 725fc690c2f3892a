"""The command that benchmarks time as a whole."""

from __future__ import annotations

import os
import sys


def rung_train(data: str | os.PathLike[str], budget: str, out: str | os.PathLike[str], *options: str) -> list[str]:
    """``rung train DATA --budget BUDGET --out OUT`` of this interpreter, which prints its evaluation as JSON alone.

    Args:
        data: a name or a path.
        budget: such as ``"2m"``.
        out: the run folder to make.
        options: more of the command's.
    """
    command = [sys.executable, "-m", "rung", "train", str(data), "--budget", budget, "--out", str(out)]
    return [*command, "--json", "-q", *options]
