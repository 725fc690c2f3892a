from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rung.data import find_source, load, source
from rung.data.sources import parquet
from rung.errors import DataError

Encoded = Callable[..., bytes]


def features(**columns: Any) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


def write(
    path: Path,
    images: list[bytes | None],
    labels: list[Any],
    image: str = "image",
    label: str = "label",
    metadata: dict[bytes, bytes] | None = None,
    struct: bool = True,
    rows: int = 7,
    **more: list[Any],
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array([{"bytes": content, "path": None} for content in images]) if struct else pa.array(images)
    table = pa.table(
        {image: column, label: pa.array(labels), **{name: pa.array(values) for name, values in more.items()}}
    )
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    return path


@pytest.fixture
def images(encoded: Encoded) -> list[bytes | None]:
    return [encoded(number) for number in range(30)]


LABELS = [number % 3 for number in range(30)]


def test_one_file(images: list[bytes | None], tmp_path: Path, picture: Callable[..., Any]) -> None:
    names = {"_type": "ClassLabel", "names": ["ant", "bee", "cow"]}
    dataset = load(write(tmp_path / "some.parquet", images, LABELS, metadata=features(label=names)))
    assert dataset.name == "some"
    assert dataset.classes == ("ant", "bee", "cow")
    assert dataset.train.images.shape == (30, 12, 10, 3)
    assert np.array_equal(dataset.train.images[17], np.asarray(picture(17)))
    for split in dataset.splits:
        assert np.array_equal(split.labels, split.rows % 3)
    assert dataset.train.files is None


@pytest.mark.parametrize(
    "names",
    [
        ("train.parquet", "test.parquet"),
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
    ],
)
def test_folders(names: tuple[str, str], images: list[bytes | None], tmp_path: Path) -> None:
    write(tmp_path / names[0], images, LABELS)
    write(tmp_path / names[1], images[:6], LABELS[:6])
    dataset = load(tmp_path)
    assert len(dataset.train) + len(dataset.val) == 30
    assert dataset.test.rows.tolist() == list(range(30, 36))


def test_shards_and_validation(images: list[bytes | None], tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00002.parquet", images[:11], LABELS[:11])
    write(tmp_path / "train-00001-of-00002.parquet", images[11:20], LABELS[11:20])
    write(tmp_path / "validation-00000-of-00001.parquet", images[20:26], LABELS[20:26])
    write(tmp_path / "test.parquet", images[26:], LABELS[26:])
    write(tmp_path / "extra.parquet", images[:1], [5])
    dataset = load(tmp_path)
    assert [len(split) for split in dataset.splits] == [20, 6, 4]
    assert np.array_equal(dataset.train.labels, np.array(LABELS[:20]))
    assert any("extra.parquet" in note for note in dataset.notes)


def test_shards_without_a_split(images: list[bytes | None], tmp_path: Path) -> None:
    write(tmp_path / "0000.parquet", images[:15], LABELS[:15])
    write(tmp_path / "0001.parquet", images[15:], LABELS[15:])
    assert find_source(tmp_path).summary.images == {"train": 30}


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"image": "img"}, LABELS),
        ({"image": "photo_of_it"}, LABELS),
        ({"label": "fine_label", "coarse_label": [0] * 30}, LABELS),
        ({"label": "kind"}, LABELS),
        ({"label": "label", "id": list(range(30))}, LABELS),
        ({"struct": False}, LABELS),
        ({}, [str(label) for label in LABELS]),
        ({}, pa.array([str(label) for label in LABELS]).dictionary_encode()),
        ({}, pa.array([str(label) for label in LABELS], pa.large_string())),
        ({}, pa.array(LABELS, pa.int8())),
    ],
)
def test_columns(options: dict[str, Any], labels: Any, images: list[bytes | None], tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "some.parquet", images, labels, **options))
    assert dataset.classes == ("0", "1", "2")
    assert np.array_equal(dataset.train.labels, dataset.train.rows % 3)


def test_a_column_with_class_names_is_the_label(images: list[bytes | None], tmp_path: Path) -> None:
    metadata = features(kind={"_type": "ClassLabel", "names": ["a", "b", "c"]}, number={"dtype": "int64"})
    path = write(tmp_path / "some.parquet", images, LABELS, label="kind", metadata=metadata, number=list(range(30)))
    assert load(path).classes == ("a", "b", "c")


@pytest.mark.parametrize(
    "metadata",
    [
        {b"huggingface": b"{"},
        {b"huggingface": b"[]"},
        features(label={"names": 3}),
        {b"huggingface": b'{"info": {"features": 1}}'},
    ],
)
def test_odd_metadata_is_ignored(metadata: dict[bytes, bytes], images: list[bytes | None], tmp_path: Path) -> None:
    assert load(write(tmp_path / "some.parquet", images, LABELS, metadata=metadata)).classes == ("0", "1", "2")


def test_known_names_where_the_file_has_none(encoded: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [encoded(number, size=(4, 4)) for number in range(50)]
    for name in ("cifar10", "other"):
        write(tmp_path / name / "train.parquet", images, [number % 10 for number in range(50)], image="img")
    monkeypatch.setenv("RUNG_DATA", str(tmp_path))
    assert find_source("cifar10").classes[:2] == ("airplane", "automobile")
    assert find_source(tmp_path / "other").classes[:2] == ("0", "1")


def test_unreadable_images_are_listed(images: list[bytes | None], tmp_path: Path) -> None:
    many = images * 10
    many[40], many[100] = b"no image", None
    dataset = load(write(tmp_path / "some.parquet", many, LABELS * 10))
    assert [item.file for item in dataset.unreadable] == ["some.parquet, row 40", "some.parquet, row 100"]
    assert len(dataset.train.images) == 298
    assert np.array_equal(np.sort(np.concatenate([split.rows for split in dataset.splits])), np.arange(298))
    assert any("cannot be read: 2" in note for note in dataset.notes)


def test_an_unlabelled_test_split_is_left_out(images: list[bytes | None], tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", images, LABELS)
    write(tmp_path / "test.parquet", images[:4], [-1] * 4)
    dataset = load(tmp_path)
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 30
    assert any("no labels" in note for note in dataset.notes)


def test_a_sample_of_a_large_file(images: list[bytes | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "HEADERS", 40)
    summary = find_source(write(tmp_path / "some.parquet", images * 10, LABELS * 10, rows=10)).summary
    assert 40 <= summary.headers_read <= 60
    assert summary.uniform_size == (12, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path, images: write(path, images, [None, *LABELS[1:]]), "1 rows without a value in its column 'label'"),
        (lambda path, images: write(path, images, [float(n) for n in LABELS]), "no column of labels"),
        (lambda path, images: write(path, images, LABELS, label="a", b=LABELS), "no column of labels"),
        (lambda path, images: write(path, [b"x"] * 30, LABELS), "no readable image in its column 'image'"),
        (lambda path, images: write(path, images, [0] * 30), "one class only"),
        (lambda path, images: write(path, images, [*LABELS[:-1], 9]), r"too few images of 9 \(1\)"),
        (lambda path, images: write(path, images[:0], LABELS[:0]), "no column of encoded images"),
        (lambda path, images: pq.write_table(pa.table({"label": LABELS}), path), "no column of encoded images"),
        (lambda path, images: path.write_bytes(b"PAR1 and then nothing"), "cannot be read as Parquet"),
        (lambda path, images: path.write_bytes(b""), "cannot be read as Parquet"),
    ],
)
def test_unusable_files(
    change: Callable[[Path, list[bytes | None]], object], message: str, images: list[bytes | None], tmp_path: Path
) -> None:
    change(tmp_path / "some.parquet", images)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "some.parquet")
    assert "some.parquet" in str(caught.value)


def test_damaged_pages_are_named(images: list[bytes | None], tmp_path: Path) -> None:
    path = write(tmp_path / "some.parquet", images, LABELS)
    content = bytearray(path.read_bytes())
    content[200 : len(content) // 2] = os.urandom(len(content) // 2 - 200)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some\.parquet"):
        load(path)


def test_a_file_whose_statistics_end_pyarrow() -> None:
    """Found by benchmarks/fuzz.py: looking up a column chunk of this file terminated the whole process."""
    with pytest.raises(DataError, match=r"histogram\.parquet is damaged"):
        load(Path(__file__).parent / "damaged" / "histogram.parquet")


def test_column_names_that_are_no_text(images: list[bytes | None], tmp_path: Path) -> None:
    path = write(tmp_path / "some.parquet", images, LABELS)
    path.write_bytes(path.read_bytes().replace(b"label", b"la\xff\xffl"))
    with pytest.raises(DataError, match=r"some\.parquet (is damaged|cannot be read)"):
        load(path)


def test_only_a_test_file(images: list[bytes | None], tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", images, LABELS)
    with pytest.raises(DataError, match="no training images"):
        load(tmp_path)


def test_shards_with_other_columns(images: list[bytes | None], tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", images, LABELS)
    write(tmp_path / "train-1.parquet", images, LABELS, label="other")
    with pytest.raises(DataError, match=r"train-1\.parquet has no column 'label'"):
        load(tmp_path)


def test_large_images_come_a_few_at_a_time(
    images: list[bytes | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "some.parquet", images, LABELS)
    assert max(len(batch.images) for batch in find_source(path).reader.batches()) > 5
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 3 * max(len(content or b"") for content in images))
    batches = list(find_source(path).reader.batches())
    assert {len(batch.images) for batch in batches} <= {1, 2, 3}
    assert [content for batch in batches for content in batch.images] == images


def test_more_rows_than_can_be_held(
    images: list[bytes | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "IMAGES_MOST", 29)
    with pytest.raises(DataError, match="claims 30 images; at most 29"):
        load(write(tmp_path / "some.parquet", images, LABELS[::-1]))


def test_half_a_character_in_a_class_name_can_be_written(images: list[bytes | None], tmp_path: Path) -> None:
    names = {"_type": "ClassLabel", "names": ["ant", "\ud800", "cow"]}
    dataset = load(write(tmp_path / "some.parquet", images, LABELS, metadata=features(label=names)))
    assert dataset.classes == ("ant", "\\ud800", "cow")
