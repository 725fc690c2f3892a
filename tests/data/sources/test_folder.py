from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rung.data import find_source, load
from rung.data.sources import folder as module
from rung.errors import DataError

ClassFolders = Callable[..., Path]
Encoded = Callable[..., bytes]


def test_flat_folders(class_folders: ClassFolders, picture: Callable[..., Image.Image], tmp_path: Path) -> None:
    class_folders(tmp_path / "pets", {"dog": 20, "cat": 10})
    dataset = load(tmp_path / "pets")
    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    assert [len(split) for split in dataset.splits] == [22, 2, 6]
    assert dataset.channels == 3 and dataset.image_size == (12, 10)
    for split in dataset.splits:
        for position in range(len(split)):
            name, number = Path(split.file(position) or "").parts
            assert dataset.classes[split.labels[position]] == name
            expected = picture((0 if name == "dog" else 1000) + int(Path(number).stem))
            assert np.array_equal(split.take([position])[0], np.asarray(expected))


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Valid", "TEST"), ("training", "validation", "testing")]
)
def test_own_splits(names: tuple[str, str, str], class_folders: ClassFolders, tmp_path: Path) -> None:
    for name, count in zip(names, (8, 3, 4), strict=True):
        class_folders(tmp_path / name, {"a": count, "b": count})
    dataset = load(tmp_path)
    assert [len(split) for split in dataset.splits] == [16, 6, 8]
    assert dataset.notes == ()
    assert dataset.test.file(0) == f"{names[2]}/a/0000.png"


def test_train_and_validation_alone(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 20, "b": 20})
    class_folders(tmp_path / "val", {"a": 5, "b": 5})
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").touch()
    dataset = load(tmp_path)
    assert [len(split) for split in dataset.splits] == [32, 10, 8]
    assert any("Folders without class folders" in note and "test" in note for note in dataset.notes)


def test_a_folder_around_the_class_folders(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path / "unzipped" / "pets", {"a": 5, "b": 5})
    (tmp_path / "unzipped" / "__MACOSX" / "pets").mkdir(parents=True)
    source = find_source(tmp_path / "unzipped")
    assert source.classes == ("a", "b")
    assert load(tmp_path / "unzipped").train.file(0).startswith("pets/a/")


def test_every_kind_of_image(tmp_path: Path) -> None:
    """One class of each format and mode; all pictures are bright above and dark below."""
    ramp = np.zeros((20, 30), np.uint8)
    ramp[:10] = 255
    grey = Image.fromarray(ramp)
    exif = Image.Exif()
    exif[0x0112] = 3
    kinds: dict[str, Callable[[Path], object]] = {
        "a.png": lambda path: grey.save(path),
        "b.JPG": lambda path: grey.convert("RGB").save(path),
        "c.WebP": lambda path: grey.convert("RGB").save(path),
        "d.bmp": lambda path: grey.save(path),
        "e.gif": lambda path: grey.save(path, save_all=True, append_images=[Image.new("L", (30, 20), 60)]),
        "f.tiff": lambda path: grey.convert("RGB").save(path),
        "g.png": lambda path: grey.convert("P").save(path),
        "h.png": lambda path: grey.convert("RGBA").save(path),
        "i.png": lambda path: Image.merge("LA", (grey, Image.new("L", grey.size, 255))).save(path),
        "j.png": lambda path: Image.fromarray(ramp.astype(np.uint16) * 257).save(path),
        "k.jpeg": lambda path: grey.convert("CMYK").save(path),
        "l.jpg": lambda path: grey.transpose(Image.Transpose.ROTATE_180).save(path, exif=exif),
        "m.png": lambda path: grey.convert("1").save(path),
        "n.tif": lambda path: Image.fromarray(ramp.astype(np.float32) / 255).save(path),
        "o.pgm": lambda path: grey.save(path),
        "p": lambda path: grey.save(path, "PNG"),
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file, save in kinds.items():
            save(tmp_path / name / file)
    dataset = load(tmp_path, image_size=(20, 30))
    assert dataset.unreadable == ()
    assert dataset.train.images.shape == (32, 20, 30, 3)
    assert dataset.train.images[:, :8].min() > 235
    assert dataset.train.images[:, 12:].max() < 20


def test_grey_images_stay_grey(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 5, "b": 5}, mode="L")
    assert load(tmp_path).channels == 1
    class_folders(tmp_path, {"c": 5}, mode="RGB")
    assert load(tmp_path).channels == 3


def test_mixed_sizes(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 4}, size=(30, 10))
    class_folders(tmp_path, {"b": 5}, size=(50, 40))
    summary = find_source(tmp_path).summary
    assert summary.uniform_size is None
    assert summary.min_size == (30, 10) and summary.max_size == (50, 40) and summary.median_size == (50, 40)
    dataset = load(tmp_path)
    assert dataset.image_size == (64, 64)
    assert any("64 × 64" in note for note in dataset.notes)
    assert load(tmp_path, image_size=16).image_size == (16, 16)


def test_hidden_and_other_files(class_folders: ClassFolders, encoded: Encoded, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 5, "b": 5, ".hidden": 5, "__MACOSX": 5})
    (tmp_path / "empty").mkdir()
    (tmp_path / "a" / "._0000.png").write_bytes(b"x")
    (tmp_path / "a" / ".DS_Store").touch()
    (tmp_path / "a" / "labels.txt").touch()
    (tmp_path / "b" / "photo.HEIC").touch()
    (tmp_path / "b" / "README").touch()
    (tmp_path / "stray.png").write_bytes(encoded())
    (tmp_path / "a" / "deeper" / "still").mkdir(parents=True)
    (tmp_path / "a" / "deeper" / "still" / "x.png").write_bytes(encoded(99))
    dataset = load(tmp_path)
    assert dataset.classes == ("a", "b")
    assert len(dataset.train.images) == 11
    notes = " ".join(dataset.notes)
    for word in ("Empty class folders in train were left out: empty", "1 × .txt", "1 × .heic", "no suffix", "outside"):
        assert word in notes


def test_names_in_any_script(class_folders: ClassFolders, tmp_path: Path) -> None:
    names = ["собака", "猫", "قطة", "ant bee", "<img onerror=x>" if os.name != "nt" else "img", "é"]
    class_folders(tmp_path / "train", dict.fromkeys([*names[:-1], unicodedata.normalize("NFD", "é")], 4))
    class_folders(tmp_path / "test", dict.fromkeys([*names[:-1], unicodedata.normalize("NFC", "é")], 2))
    dataset = load(tmp_path)
    assert set(dataset.classes) == set(names)
    assert len(dataset.test) == 12


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_names_that_are_no_text(class_folders: ClassFolders, encoded: Encoded, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 5, "b": 5})
    for name in (b"\xff\xfe", b"line\nbreak\ttab"):
        Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/" + name + b".png")).write_bytes(encoded(7))
    (tmp_path / os.fsdecode(b"cl\xe4ss")).mkdir()
    for number in range(3):
        (tmp_path / os.fsdecode(b"cl\xe4ss") / f"{number}.png").write_bytes(encoded(number))
    dataset = load(tmp_path)
    assert "cl\\xe4ss" in dataset.classes
    files = [str(split.file(i)) for split in dataset.splits for i in range(len(split))]
    assert "a/\\xff\\xfe.png" in files and "a/line\nbreak\ttab.png" in files
    " ".join(files).encode()
    assert len(load(tmp_path, exclude=["a/\\xff\\xfe.png"]).train.images) == len(files)


def test_number_names_are_in_order(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {str(number): 3 for number in range(12)})
    assert load(tmp_path).classes == tuple(str(number) for number in range(12))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_links_pipes_and_loops(class_folders: ClassFolders, encoded: Encoded, tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"a": 5, "b": 5})
    (tmp_path / "elsewhere.png").write_bytes(encoded(50))
    class_folders(tmp_path / "far", {"c": 4})
    (root / "a" / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    (root / "a" / "broken.png").symlink_to(tmp_path / "nothing.png")
    (root / "a" / "itself.png").symlink_to(root / "a" / "itself.png")
    (root / "a" / "null.png").symlink_to("/dev/null")
    os.mkfifo(root / "b" / "pipe.png")
    (root / "b" / "up").symlink_to(root)
    (root / "loop").symlink_to(root)
    (root / "above").symlink_to(tmp_path)
    (root / "c").symlink_to(tmp_path / "far" / "c")
    dataset = load(root)
    assert dataset.classes == ("a", "b", "c")
    assert len(dataset.train.images) == 5 + 1 + 5 + 4
    assert dataset.unreadable == ()
    notes = " ".join(dataset.notes)
    assert "2 × broken link" in notes and "2 × pipe or device" in notes


def test_few_unreadable_files_are_listed(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 110, "b": 110}, size=(4, 4))
    (tmp_path / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "b" / "0000.png").read_bytes()[:60])
    for _ in range(2):
        dataset = load(tmp_path)
        assert [item.file for item in dataset.unreadable] == ["a/bad.jpg", "b/cut.png"]
        assert all(item.reason for item in dataset.unreadable)
        assert len(dataset.train.images) == 220
        assert any("cannot be read: 2" in note for note in dataset.notes)


def test_many_unreadable_files_are_refused(class_folders: ClassFolders, cache_dir: Path, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 20, "b": 20}, size=(4, 4))
    for number in range(5):
        (tmp_path / "a" / f"bad{number}.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"5 of the 45 images .*a/bad0\.jpg") as caught:
        load(tmp_path)
    report = Path(str(caught.value).rpartition(" ")[2])
    assert len(report.read_text().splitlines()) == 5
    assert list((cache_dir / "images").iterdir()) == []


def test_a_file_that_vanishes(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 110, "b": 10}, size=(4, 4))
    source = find_source(tmp_path)
    (tmp_path / "a" / "0003.png").unlink()
    from rung.data import materialise

    assert [item.file for item in materialise(source).unreadable] == ["a/0003.png"]


def test_the_content_key_follows_the_files(class_folders: ClassFolders, encoded: Encoded, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 5, "b": 5})
    before = find_source(tmp_path).content_key
    assert find_source(tmp_path).content_key == before
    (tmp_path / "a" / "0000.png").write_bytes(encoded(77))
    after = find_source(tmp_path).content_key
    assert after != before
    (tmp_path / "a" / "0001.png").rename(tmp_path / "b" / "moved.png")
    assert find_source(tmp_path).content_key != after


def test_a_sample_of_many(class_folders: ClassFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEADERS", 8)
    class_folders(tmp_path, {"a": 10, "b": 10})
    assert find_source(tmp_path).summary.headers_read == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root, fill, png: None, "has no images; put one folder a class"),
        (lambda root, fill, png: (root / "a.png").write_bytes(png()), "images but no class folders"),
        (lambda root, fill, png: fill(root, {"a": 5}), r"one class only \(a\)"),
        (
            lambda root, fill, png: fill(root, {"a": 5, "b": 1}),
            r"too few images of b \(1\): each class needs at least 3",
        ),
        (lambda root, fill, png: fill(root, {"a": 0, "b": 0}), "has no images"),
        (lambda root, fill, png: fill(root / "test", {"a": 5, "b": 5}), "no folder train|one class"),
        (
            lambda root, fill, png: [fill(root / "train", {"a": 5, "b": 5}), fill(root / "test", {"a": 5, "c": 5})],
            "has b in train but not in test",
        ),
        (
            lambda root, fill, png: [
                fill(root / "train", {"a": 5, "b": 5}),
                fill(root / "test", {"a": 5, "b": 1, "c": 5}),
            ],
            r"classes in its test split that have no training images \(c\)",
        ),
        (
            lambda root, fill, png: [(fill(root, {"a": 0}) / "a" / "x.txt").touch(), (root / "a" / "y.pdf").touch()],
            r"only other files \(\.\w+, \.\w+\)",
        ),
    ],
)
def test_unusable_folders(
    make: Callable[..., object], message: str, class_folders: ClassFolders, encoded: Encoded, tmp_path: Path
) -> None:
    make(tmp_path, class_folders, encoded)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_files_that_only_look_like_images(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"no image in .* can be read \(the first is a/0\.png\)"):
        load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may read everything")
def test_a_folder_that_may_not_be_read(class_folders: ClassFolders, tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(DataError, match="cannot read"):
            load(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)
