"""What is a seed."""

from __future__ import annotations

from rung.errors import UsageError

MOST = 2**63 - 1
"""NumPy takes more, PyTorch does not."""


def check_seed(seed: int) -> None:
    """Refuse what a random generator cannot start from.

    Raises:
        UsageError: ``seed`` is negative, or 2⁶³ or more.
    """
    if not 0 <= seed <= MOST:
        raise UsageError(f"the seed must be 0 or more, and below 2^63, not {seed}")
