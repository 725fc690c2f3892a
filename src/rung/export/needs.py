"""Packages that only some users install."""

from __future__ import annotations

from importlib.util import find_spec

from rung.errors import UsageError


def need(package: str, extra: str) -> None:
    """Make sure that an optional package is there.

    Args:
        package: its import name.
        extra: of rung, that brings it.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec(package) is None:
        raise UsageError(f"this needs the package {package}, which is not installed; pip install 'rung[{extra}]'")
