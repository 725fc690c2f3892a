"""The parts that every report is made of: charts, sprite sheets, the choice of images, the page's JSON."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from rung.data.dataset import Split
from rung.report import charts
from rung.report.examples import A_CELL, A_CLASS, Predictions, choose
from rung.report.page import embed
from rung.report.sprites import make_sheet


@pytest.mark.parametrize("low, high", [(0, 1), (0, 8.4), (0.1, 0.11), (1e-5, 3e-4), (-3, 7_000), (0.9, 1.0)])
@pytest.mark.parametrize("most", [2, 5, 6])
def test_ticks_are_round_evenly_spaced_and_inside(low, high, most):
    found = charts.ticks(low, high, most)
    assert 1 <= len(found) <= most + 1
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert np.ptp(np.diff(found)) < 1e-9 if len(found) > 2 else True


def test_one_place_has_one_tick():
    assert charts.ticks(3, 3) == [3]


def test_a_chart_stays_in_its_box():
    values = [0.2, 5.0, float("nan"), 0.9]
    chart = charts.line_chart("t", "k", [1, 2, 3, 4], [charts.Series("a", "train", values)], low=0.0)
    (line,) = chart.lines
    assert len(line.points) == 3
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in line.points)
    assert line.last == "0.9" and "nan" not in line.path


def test_a_flat_curve_can_be_drawn():
    chart = charts.line_chart("t", "k", [0.0], [charts.Series("a", "train", [0.0])])
    assert chart.y_ticks and chart.lines[0].points


def split_of(shape, count, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split("test", pixels, np.arange(count), np.zeros(count, np.int64))


def decode(sheet):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.uri.split(",")[1]))))


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (10, 20, 3)])
def test_a_small_sheet_holds_the_very_pixels(shape):
    split = split_of(shape, 50)
    chosen = np.array([7, 3, 3, 49, 0])
    sheet = make_sheet(split, chosen)
    picture = decode(sheet).reshape(sheet.size[1], sheet.size[0], -1)
    assert sheet.count == 5 and sheet.pixelated
    for number, position in enumerate(chosen):
        column, row = sheet.place(number)
        y, x = row * sheet.cell[1], column * sheet.cell[0]
        assert np.array_equal(picture[y : y + shape[0], x : x + shape[1]], split.images[position])


def test_background_positions_hit_the_cells():
    sheet = make_sheet(split_of((28, 28, 1), 30), np.arange(30))
    # CSS places p % of the picture over p % of the box: offset = p * (picture - box).
    offset = sheet.step[0] / 100 * (sheet.size[0] - sheet.width)
    assert offset == pytest.approx(sheet.cell[0])
    assert sheet.scale[0] / 100 * sheet.width == pytest.approx(sheet.size[0])


def test_a_sheet_respects_its_limit():
    split = split_of((64, 64, 3), 300)
    sheet = make_sheet(split, np.arange(300), limit=200_000)
    assert len(base64.b64decode(sheet.uri.split(",")[1])) <= 200_000
    assert 24 <= sheet.count < 300


def predictions(images, classes, seed=0):
    rng = np.random.default_rng(seed)
    labels, said = rng.integers(0, classes, (2, images))
    said = np.where(rng.random(images) < 0.6, labels, said)
    confidence = rng.uniform(0.3, 1, images).astype(np.float32)
    zero = np.zeros(images)
    return Predictions(np.arange(images), labels, said, confidence, zero, said, zero)


@pytest.mark.parametrize("images, classes, room", [(2_000, 5, 10_000), (2_000, 5, 150), (3, 2, 100), (1_000, 100, 400)])
def test_chosen_images_belong_where_they_are_shown(images, classes, room):
    given = predictions(images, classes)
    chosen = choose(given, room)
    assert len(chosen.rows) <= room and len(set(chosen.rows.tolist())) == len(chosen.rows)
    for (true, said), places in chosen.cells.items():
        rows = chosen.rows[list(places)]
        assert (given.labels[rows] == true).all() and (given.predicted[rows] == said).all()
        assert len(places) <= (A_CLASS if true == said else A_CELL)
        assert (np.diff(given.confidence[rows]) <= 0).all()
    wrong = given.confidence[given.wrong]
    if chosen.confident:
        assert given.confidence[chosen.rows[chosen.confident[0]]] == wrong.max()
    assert given.confidence[chosen.rows[chosen.uncertain[0]]] == given.confidence.min()


def test_with_room_for_all_every_pair_is_there_and_right_answers_are_spread():
    given = predictions(2_000, 5)
    chosen = choose(given, 10_000)
    assert set(chosen.cells) == set(zip(given.labels.tolist(), given.predicted.tolist(), strict=True))
    spread = given.confidence[chosen.rows[list(chosen.cells[0, 0])]]
    assert len(spread) == A_CLASS and spread[0] > 0.9 and spread[-1] < 0.45


def test_fewer_examples_keep_their_numbers():
    chosen = choose(predictions(500, 4), 300)
    fewer = chosen.first(60)
    assert len(fewer.rows) == 60 and all(p < 60 for places in fewer.cells.values() for p in places)


def test_embedded_json_cannot_leave_its_script():
    value = {"</script>": "<!-- & \u2028 it's"}
    text = embed(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value
