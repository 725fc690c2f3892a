from __future__ import annotations

import errno
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rung.errors import RunError
from rung.events import TAGS, EventWriter
from rung.runs import Epoch


def epoch(number: int) -> Epoch:
    return Epoch(
        epoch=float(number),
        step=100 * number,
        seconds=1.5 * number,
        learning_rate=0.1 / number,
        train_loss=2.0 / number,
        train_accuracy=0.3 + 0.1 * number,
        val_loss=2.2 / number,
        val_accuracy=0.25 + 0.1 * number,
        images_per_second=1000.0 + number,
    )


def read(folder: Path) -> EventAccumulator:
    """What TensorBoard itself finds in ``folder``; it drops records whose checksum is wrong."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def test_tensorboard_reads_back_every_number(tmp_path: Path) -> None:
    rows = [epoch(number) for number in (1, 2, 3)]
    with EventWriter(tmp_path) as writer:
        for row in rows:
            writer.write(row)

    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == set(TAGS)
    for tag, field in TAGS.items():
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [100, 200, 300]
        assert [scalar.value for scalar in scalars] == pytest.approx([getattr(row, field) for row in rows], rel=1e-6)


def test_an_empty_run_is_a_valid_file(tmp_path: Path) -> None:
    EventWriter(tmp_path).close()
    assert read(tmp_path).Tags()["scalars"] == []


def test_a_diverged_loss_is_kept(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.write(Epoch(1, 1, 1, 0.1, math.nan, 0.1, math.inf, 0.1, 1))
    events = read(tmp_path)
    assert math.isnan(events.Scalars("loss/train")[0].value)
    assert math.isinf(events.Scalars("loss/validation")[0].value)


def test_a_resumed_run_continues_in_a_file_of_its_own(tmp_path: Path) -> None:
    for number in (1, 2):
        with EventWriter(tmp_path) as writer:
            writer.write(epoch(number))
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2
    assert [scalar.step for scalar in read(tmp_path).Scalars("loss/train")] == [100, 200]


def test_rows_can_be_seen_while_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("rung.events.time.monotonic", lambda: clock)
    writer = EventWriter(tmp_path)
    clock = 1.0
    writer.write(epoch(1))
    assert read(tmp_path).Tags()["scalars"] == []
    clock = 2.0
    writer.write(epoch(2))
    assert len(read(tmp_path).Scalars("loss/train")) == 2
    writer.close()


def test_a_record_that_a_crash_cut_off_costs_only_itself(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.write(epoch(1))
        writer.write(epoch(2))
    (path,) = tmp_path.glob("events.out.tfevents.*")
    path.write_bytes(path.read_bytes()[:-5])
    assert [scalar.step for scalar in read(tmp_path).Scalars("loss/train")] == [100]


def test_records_are_framed_as_the_format_says(tmp_path: Path) -> None:
    """Length, its checksum, data, its checksum; checked with a CRC-32C of our own against its published check value."""

    def crc32c(data: bytes) -> int:
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        return crc ^ 0xFFFFFFFF

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    assert crc32c(b"123456789") == 0xE3069283
    with EventWriter(tmp_path) as writer:
        writer.write(epoch(1))
    (path,) = tmp_path.glob("events.out.tfevents.*")
    content, records = path.read_bytes(), 0
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        data = content[12 : 12 + length]
        assert struct.unpack("<I", content[8:12])[0] == masked(content[:8])
        assert struct.unpack("<I", content[12 + length : 16 + length])[0] == masked(data)
        content, records = content[16 + length :], records + 1
    assert records == 2  # the version of the format, and the epoch


def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.close()
    writer.close()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write TensorBoard events to .*missing"):
        EventWriter(tmp_path / "missing")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("rung.events._FLUSH", 0.0)
    writer = EventWriter(tmp_path)
    with monkeypatch.context() as context:
        context.setattr("os.fsync", full)
        with pytest.raises(RunError, match=r"cannot write TensorBoard events .*[Nn]o space"):
            writer.write(epoch(1))
        with pytest.raises(RunError):
            writer.close()


def test_importing_it_brings_neither_torch_nor_tensorboardx() -> None:
    script = "import sys, rung.events; assert not {'torch', 'tensorboardX', 'google.protobuf'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
