"""Instants on the wire: milliseconds since 1970 UTC to text and back.

Written as `YYYY-MM-DDTHH:MM:SS.mmmZ`, read in any form of RFC 3339, within the years 0001–9999.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

# RFC 3339 section 5.6 to the letter: T and Z in either case, no space for the T.
_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


# This runs once per message. Messages of the same second share all but three digits, and a table
# of those is twice as fast as formatting them.
_MILLISECONDS = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))


@lru_cache(maxsize=256)
def _to_the_second(seconds: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
    except OverflowError:
        raise ValueError("an instant lies within the years 0001 to 9999") from None


def format_instant(milliseconds: int) -> str:
    """Write an instant as `YYYY-MM-DDTHH:MM:SS.mmmZ`.

    milliseconds: since 1970-01-01T00:00:00Z, negative before it.
    ValueError outside the years 0001–9999.
    """
    return _to_the_second(milliseconds // 1000) + _MILLISECONDS[milliseconds % 1000]


def parse_instant(text: str) -> int:
    """Read an RFC 3339 time as milliseconds since 1970-01-01T00:00:00Z.

    Any offset, any number of fractional digits (those below a millisecond are cut off), T and Z
    in either case. A leap second, 23:59:60 UTC, reads as the first second of the next day.
    ValueError for anything else, and outside the years 0001–9999 UTC.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hours, offset_minutes = match.group(7, 8, 9, 10)
    is_leap_second = second == 60
    local = datetime(year, month, day, hour, minute, 59 if is_leap_second else second, tzinfo=UTC)
    try:
        if sign is not None:
            offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
            local = local - offset if sign == "+" else local + offset
        if is_leap_second:
            if (local.hour, local.minute) != (23, 59):
                raise ValueError("a leap second is the last of a day in UTC")
            local += _SECOND
    except OverflowError:
        raise ValueError("an instant lies within the years 0001 to 9999") from None
    milliseconds = int(fraction[:3].ljust(3, "0")) if fraction else 0
    return (local - _EPOCH) // _SECOND * 1000 + milliseconds
