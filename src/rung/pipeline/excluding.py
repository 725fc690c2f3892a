"""The images that a training leaves out: given as a list, kept in the run, found again with its data."""

from __future__ import annotations

from rung.data.lists import Listed, list_csv, read_list
from rung.errors import DataError, RunError
from rung.runs import EXCLUDED, Run

COLUMNS = ("image", "split", "label")


def listed(exclude: str | tuple[str | int, ...] | None) -> tuple[Listed, ...]:
    """The images that :class:`~rung.pipeline.settings.Settings` name: the path of a list, or the images themselves.

    Raises:
        DataError: the list cannot be read.
    """
    if exclude is None:
        return ()
    return read_list(exclude) if isinstance(exclude, str) else tuple(Listed(image) for image in exclude)


def write_excluded(run: Run, images: tuple[Listed, ...]) -> None:
    """Keep the list in the run, which shall not depend on what becomes of the user's file."""
    if images:
        text = list_csv(COLUMNS, ((i.image, i.split or "", i.label or "") for i in images))
        # Names of files need not be text.
        run.write_bytes(EXCLUDED, text.encode("utf-8", "surrogateescape"))
        run.update(data={**run.info["data"], "excluded": {"images": len(images), "list": EXCLUDED}})


def excluded_from(run: Run) -> tuple[Listed, ...]:
    """The images that the training of a run left out.

    Raises:
        RunError: its list is missing or damaged.
    """
    if not run.info.get("data", {}).get("excluded"):
        return ()
    try:
        run.read_bytes(EXCLUDED)  # This looks at its checksum.
        return read_list(run.path / EXCLUDED)
    except (OSError, DataError) as error:
        raise RunError(f"the list of excluded images in {run.path} is damaged: {error}") from error
