"""TensorBoard event files: the history of a run as curves, while it trains.

tensorboardX writes the records, without TensorFlow or TensorBoard being installed. Its synchronous low-level writer is
used instead of ``SummaryWriter``, which starts a thread and a multiprocessing queue: an epoch is seven numbers.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import RunError

if TYPE_CHECKING:
    from rung.runs import Epoch

# TensorBoard draws tags with a common first part beside each other.
TAGS = {
    "loss/train": "train_loss",
    "loss/validation": "val_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "val_accuracy",
    "training/learning_rate": "learning_rate",
    "training/images_per_second": "images_per_second",
    "training/epoch": "epoch",
}

# Seconds between two flushes: each waits for the disk (4 ms where it was measured), and the epochs of a small data set
# follow each other faster than anyone reads curves.
_FLUSH = 2.0

_count = itertools.count()


class EventWriter:
    """Appends the epochs of a run to an event file of its own in ``folder``.

    A run that is resumed gets a second file beside the first; TensorBoard joins them by step. Each record carries a
    checksum, so a reader stops in front of one that a crash has cut off.

    Args:
        folder: the run folder; it must exist.

    Raises:
        RunError: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        # Imported here because it brings protobuf: 20 ms once torch is loaded, but seconds where it is not, since
        # tensorboardX imports torch itself.
        from tensorboardX.event_file_writer import EventsWriter

        self._folder = folder
        self._closed = False
        # Its name holds the time in seconds: without a suffix, a writer would overwrite that of the same second.
        suffix = f".{os.getpid()}.{next(_count)}"
        try:
            self._writer = EventsWriter(str(folder.resolve() / "events"), suffix)
            self._writer.flush()
            self._flushed = time.monotonic()
        except OSError as error:
            raise self._failure(error) from error

    def write(self, row: Epoch) -> None:
        """Append ``row``; TensorBoard can see it within 2 s, as long as more rows follow, or after :meth:`close`.

        Raises:
            RunError: the disk is full, or the file cannot be written to.
        """
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=getattr(row, field)) for tag, field in TAGS.items()]
        try:
            self._writer.write_event(Event(wall_time=time.time(), step=row.step, summary=Summary(value=values)))
            if time.monotonic() - self._flushed >= _FLUSH:
                self._writer.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Flush and close the file; a second call does nothing.

        Raises:
            RunError: what was left could not be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.close()
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _failure(self, error: OSError) -> RunError:
        return RunError(f"cannot write TensorBoard events to {self._folder}: {error.strerror or error}")
