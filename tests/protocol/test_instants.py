"""Instants: one form out, every RFC 3339 form in."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.protocol.instants import format_instant, parse_instant

FIRST = -62_135_596_800_000
LAST = 253_402_300_799_999
instants = st.integers(FIRST, LAST)

FORMATTED = [
    (0, "1970-01-01T00:00:00.000Z"),
    (-1, "1969-12-31T23:59:59.999Z"),
    (1, "1970-01-01T00:00:00.001Z"),
    (951_782_400_000, "2000-02-29T00:00:00.000Z"),
    (1_893_456_000_050, "2030-01-01T00:00:00.050Z"),
    (FIRST, "0001-01-01T00:00:00.000Z"),
    (LAST, "9999-12-31T23:59:59.999Z"),
]

PARSED = [
    ("1970-01-01T00:00:00Z", 0),
    ("1970-01-01t00:00:00z", 0),
    ("1970-01-01T00:00:00+00:00", 0),
    ("1970-01-01T00:00:00-00:00", 0),
    ("1970-01-01T05:30:00+05:30", 0),
    ("1969-12-31T16:00:00-08:00", 0),
    ("1970-01-02T23:59:00+23:59", 86_400_000),
    ("1970-01-01T00:00:00.5Z", 500),
    ("1970-01-01T00:00:00.05Z", 50),
    ("1970-01-01T00:00:00.0019999Z", 1),
    ("1970-01-01T00:00:00.123456789012345678901234567890Z", 123),
    ("1969-12-31T23:59:59.999Z", -1),
    ("2016-12-31T23:59:60Z", 1_483_228_800_000),
    ("2016-12-31T23:59:60.25Z", 1_483_228_800_250),
    ("1990-12-31T15:59:60-08:00", 662_688_000_000),
    ("0001-01-01T00:00:00Z", FIRST),
    ("0001-01-01T01:00:00+01:00", FIRST),
    ("9999-12-31T22:59:59.999-01:00", LAST),
]

REFUSED = [
    "",
    "now",
    "1970-01-01",
    "1970-01-01T00:00:00",
    "1970-01-01 00:00:00Z",
    "1970-01-01T00:00Z",
    "1970-01-01T00:00:00.Z",
    "1970-01-01T00:00:00,5Z",
    "1970-1-01T00:00:00Z",
    "1970-01-01T00:00:00Z ",
    "1970-01-01T00:00:00Z\n",
    "19700101T000000Z",
    "1970-01-01T00:00:00+0100",
    "1970-01-01T00:00:00+01",
    "1970-01-01T00:00:00+24:00",
    "1970-01-01T00:00:00+00:60",
    "1970-01-01T24:00:00Z",
    "1970-01-01T00:60:00Z",
    "1970-01-01T00:00:61Z",
    "1970-01-01T12:00:60Z",
    "1970-00-01T00:00:00Z",
    "1970-13-01T00:00:00Z",
    "1970-01-00T00:00:00Z",
    "1970-02-29T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "9999-12-31T23:59:60Z",
    "١٩٧٠-01-01T00:00:00Z",
]


@pytest.mark.parametrize(("milliseconds", "text"), FORMATTED)
def test_format(milliseconds: int, text: str) -> None:
    assert format_instant(milliseconds) == text


@pytest.mark.parametrize("milliseconds", [FIRST - 1, LAST + 1, 10**30, -(10**30)])
def test_format_refuses_other_years(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="years 0001 to 9999"):
        format_instant(milliseconds)


@pytest.mark.parametrize(("text", "milliseconds"), PARSED)
def test_parse(text: str, milliseconds: int) -> None:
    assert parse_instant(text) == milliseconds


@pytest.mark.parametrize("text", REFUSED)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text)


@given(instants)
@example(FIRST)
@example(LAST)
def test_what_is_formatted_parses_back(milliseconds: int) -> None:
    text = format_instant(milliseconds)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert parse_instant(text) == milliseconds


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),
    st.integers(-1439, 1439),
)
def test_parse_agrees_with_datetime(local: datetime, offset: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=offset)))
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_instant(moment.isoformat()) == expected


@given(st.text())
def test_parse_raises_nothing_but_value_error(text: str) -> None:
    try:
        parsed = parse_instant(text)
    except ValueError:
        return
    assert FIRST <= parsed <= LAST
