from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.budget import format_duration, parse_duration
from rung.errors import UsageError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("15", 15.0),
        ("90s", 90.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1h", 3600.0),
        ("1h5s", 3605.0),
        ("1.5h", 5400.0),
        (".5m", 30.0),
        ("2 min 5 s", 125.0),
        (" 2 Minutes ", 120.0),
        ("1 hour 1 second", 3601.0),
        ("90 SEC", 90.0),
        (15, 15.0),
        (15.5, 15.5),
    ],
)
def test_reads_what_people_write(value: str | float, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "soon", "2x", "m", "m2", "1m2h", "1m1m", "1h30", "1:30", "1e3", "-5", "-5s", "+5", "٣s", "1,5m",
        "2m\0", "inf", "nan", "9" * 400, "9" * 60 + "h" * 60, math.inf, math.nan, True, None, [5], 10**400,
    ],
)  # fmt: skip
def test_refuses_the_rest_in_one_sentence(value: object) -> None:
    with pytest.raises(UsageError) as error:
        parse_duration(value)  # type: ignore[arg-type]
    assert "is not a length of time; write it like 90s, 2m or 1h30m" in str(error.value)
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)


def test_refuses_an_integer_too_long_to_be_printed() -> None:
    with pytest.raises(UsageError, match="is not a length of time"):
        parse_duration(10**5000)


@pytest.mark.parametrize("value", ["0", "0s", "0h0m", "0.0 m", 0, 0.0, -1, -0.5])
def test_refuses_no_time_at_all(value: str | float) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        parse_duration(value)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except UsageError:
        return
    assert math.isfinite(seconds)
    assert seconds > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.36, "0.4 s"),
        (5, "5 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.6, "1 min"),
        (120, "2 min"),
        (125, "2 min 5 s"),
        (3599.6, "1 h"),
        (5400, "1 h 30 min"),
        (5429, "1 h 30 min"),
        (360000, "100 h"),
        (-125, "-2 min 5 s"),
        (math.inf, "unknown"),
        (math.nan, "unknown"),
    ],
)
def test_writes_what_people_read(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(1, 3599))
def test_whole_seconds_below_an_hour_come_back_exactly(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.floats(0.06, 1e7))
def test_what_is_written_reads_back_within_its_rounding(seconds: float) -> None:
    rounding = 0.05 if seconds < 10 else 0.5 if seconds < 3599.5 else 30
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=rounding + 1e-6)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_parts_add_up(hours: int, minutes: int, seconds: int) -> None:
    total = 3600 * hours + 60 * minutes + seconds
    text = f"{hours}h{minutes}m{seconds}s"
    if total:
        assert parse_duration(text) == total
    else:
        with pytest.raises(UsageError):
            parse_duration(text)
