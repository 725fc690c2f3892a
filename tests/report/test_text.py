import pytest

from rung.report import text
from rung.report.text import NARROW


@pytest.mark.parametrize(
    "share, shown", [(0.8734, "87.3 %"), (1.0, "100.0 %"), (0.99996, "99.9 %"), (0.0, "0.0 %"), (None, "–")]
)
def test_percent(share, shown):
    assert text.percent(share).replace(NARROW, " ") == shown


@pytest.mark.parametrize(
    "seconds, shown",
    [
        (0.04, "0.0 s"),
        (8.43, "8.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (118, "1 min 58 s"),
        (3_599.7, "1 h"),
        (4_000, "1 h 7 min"),
        (None, "–"),
    ],
)
def test_duration(seconds, shown):
    assert text.duration(seconds).replace(NARROW, " ") == shown


@pytest.mark.parametrize(
    "value, shown",
    [(0.41873, "0.419"), (3_580.4, "3,580"), (1_970_000, "1.97 M"), (118.5e6, "118 M"), (2.5e9, "2.5 G"), (None, "–")],
)
def test_number(value, shown):
    assert text.number(value).replace(NARROW, " ") == shown


@pytest.mark.parametrize("value, shown", [(45_000, "45,000"), (8.0, "8"), (8.4, "8.4"), (8.25, "8.25"), (None, "–")])
def test_count(value, shown):
    assert text.count(value) == shown


@pytest.mark.parametrize(
    "value, shown",
    [
        (None, "–"),
        (True, "yes"),
        ([64, 256], "64, 256"),
        ([[32, 32], [64]], "32, 32 | 64"),
        ({"a": 1, "b": False}, "a: 1, b: no"),
        (0.0125, "0.0125"),
        (123_456, "123,456"),
        ("muon", "muon"),
        ([], "none"),
    ],
)
def test_humanise(value, shown):
    assert text.humanise(value) == shown
