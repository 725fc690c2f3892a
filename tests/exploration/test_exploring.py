"""What `rung explore` finds, writes and shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rung
from rung.data import find_source, materialise
from rung.errors import DataError, RunError
from rung.exploration.plane import lay_out
from rung.exploration.statistics import class_counts, mean_images, pixel_statistics
from rung.exploration.survey import survey


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of pictures of one size; among them a blank, a long and a copied one, and a broken file."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name in ("birds", "a & b <i>"):
        (folder / name).mkdir()
        for number in range(100):
            small = Image.fromarray(random.integers(0, 256, (10, 10, 3), np.uint8))
            small.resize((48, 40)).save(folder / name / f"{number:03}.png")
    Image.new("RGB", (48, 40), (9, 9, 9)).save(folder / "birds" / "blank.png")
    Image.fromarray(random.integers(0, 256, (20, 90, 3), np.uint8)).save(folder / "birds" / "long.jpg")
    Image.open(folder / "birds" / "003.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "birds" / "z.png")
    (folder / "birds" / "broken.png").write_bytes(b"\x89PNG nothing")
    return folder


def test_a_folder_is_told_in_full(photos: Path, tmp_path: Path) -> None:
    found = rung.explore(photos, out=tmp_path / "out")
    told = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(found.to_dict()))
    assert sum(told["images"].values()) == 203
    assert told["originals"]["formats"] == {"PNG": 202, "JPEG": 1}
    assert told["originals"]["sizes"][0] == {"height": 40, "width": 48, "images": 202}
    kinds = {item["kind"]: item["name"] for item in told["suspicious"] if item["kind"] != "unlike the others"}
    assert kinds == {"blank": "birds/blank.png", "extreme shape": "birds/long.jpg", "other size": "birds/long.jpg"}
    assert [item["file"] for item in told["unreadable"]] == ["birds/broken.png"]
    (pair,) = told["duplicates"]["pairs"]
    assert {pair["first"]["name"], pair["second"]["name"]} == {"birds/003.png", "birds/z.png"} and pair["mirrored"]


def test_the_page_is_one_file_that_escapes_names(photos: Path, tmp_path: Path) -> None:
    page = rung.explore(photos, out=tmp_path / "out").report.read_text(encoding="utf-8")
    assert "a &amp; b &lt;i&gt;" in page and "<i>" not in re.sub(r"<i( |></i>)", "", page.split("<main")[1])
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page) and len(page) < 5_000_000
    for words in ("[1 0]", "mirrored", "broken.png", "extreme shape", "202 PNG", "<circle"):
        assert words in page, words


def test_digits_have_nothing_to_complain_of(tmp_path: Path) -> None:
    found = rung.explore("digits", out=tmp_path / "out")
    assert found.survey.duplicates.exact == () and found.survey.suspicious == ()
    assert [len(split) for split in found.survey.dataset.splits] == [1294, 144, 359]
    assert "No image" in found.report.read_text(encoding="utf-8")


def test_a_thousand_classes_show_the_largest_and_the_smallest(
    tmp_path: Path, pictures: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> None:
    images, labels = pictures(3500, 1000)
    np.savez(tmp_path / "many.npz", x_train=images, y_train=labels)
    found = rung.explore(tmp_path / "many.npz", out=tmp_path / "out")
    page = found.report.read_text(encoding="utf-8")
    assert "976 are left out" in page and page.count('class="mean"') == 24 + 5
    assert "100 largest and the 100 smallest" in page


def test_one_image_a_class_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (9, 9)).save(tmp_path / name / "1.png")
    with pytest.raises(DataError, match="images"):
        rung.explore(tmp_path, out=tmp_path / "out")


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunError, match="not empty"):
        rung.explore("digits", out=tmp_path)


def test_statistics_are_those_of_the_pixels(make_dataset: Callable[..., object]) -> None:
    data = make_dataset(60, 3, channels=3)
    pixels = data.train.take(slice(None))
    found = pixel_statistics(data.train)
    assert found.mean == pytest.approx(pixels.mean((0, 1, 2)))
    assert found.std == pytest.approx(pixels.std((0, 1, 2)))
    assert np.sum(found.histogram, axis=1) == pytest.approx([1, 1, 1])
    means = mean_images(data.train, [2, 0])
    assert np.abs(means[1] - pixels[data.train.labels == 0].mean(0)).max() <= 0.5
    assert class_counts(data)["train"] == tuple(int((data.train.labels == k).sum()) for k in range(3))


def test_places_lie_in_the_unit_square() -> None:
    random = np.random.default_rng(0)
    for count, width in ((200, 8), (5, 8), (3, 1)):
        places = lay_out(random.normal(size=(count, width)).astype(np.float32))
        assert places.shape == (count, 2) and places.min() >= 0 and places.max() <= 1


def test_rows_lead_to_places_and_back() -> None:
    source = find_source("digits")
    found = survey(source, materialise(source))
    data = found.dataset
    assert found.place_of(int(data.test.rows[7])) == ("test", 7)
    assert found.everything.rows[found.number("val", 3)] == data.val.rows[3]
    assert found.place_of(10**6) is None
