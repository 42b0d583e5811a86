"""Codes: the same in the code, in the shared vectors and in the ranges."""

import pytest

from notifications.errors import ERRORS
from notifications.protocol.codes import CLOSE_REASONS, CloseCode, is_announced, reconnects
from notifications.protocol.conversation import REASON_BYTES
from tests.protocol.vectors import CODES


def test_error_codes_are_those_of_the_vectors() -> None:
    rows = [
        {"code": code, "status": error.status, "temporary": error.temporary}
        for code, error in ERRORS.items()
    ]
    assert rows == CODES["errors"]


def test_close_codes_are_those_of_the_vectors() -> None:
    assert [(code.value, code.name) for code in CloseCode] == [
        (row["code"], row["name"]) for row in CODES["closes"]
    ]


@pytest.mark.parametrize("row", CODES["closes"] + CODES["unnamed"], ids=lambda row: row["code"])
def test_ranges_say_who_reconnects(row: dict[str, int]) -> None:
    assert reconnects(row["code"]) is row["reconnect"]


@pytest.mark.parametrize("row", CODES["closes"], ids=lambda row: row["name"])
def test_which_closes_are_announced(row: dict[str, int]) -> None:
    assert is_announced(row["code"]) is row["announced"]


@pytest.mark.parametrize("code", CloseCode)
def test_every_code_has_a_reason_that_fits_a_control_frame(code: CloseCode) -> None:
    assert 0 < len(CLOSE_REASONS[code].encode()) <= REASON_BYTES
