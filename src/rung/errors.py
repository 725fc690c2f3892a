"""The errors that rung raises on purpose.

Each carries one sentence for a person: what is wrong, where, and what to do. The command line prints
that sentence and nothing else; a traceback from rung is always a bug.
"""


class RungError(Exception):
    """Anything that rung refuses. Base class of every error below; exit code 1."""


class DataError(RungError, ValueError):
    """The images or labels cannot be used as they are."""


class UsageError(RungError, ValueError):
    """An argument is out of range or contradicts another one; exit code 2."""


class RunError(RungError):
    """A run folder is missing, incomplete or damaged."""
