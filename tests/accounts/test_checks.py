from datetime import timedelta
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from tests.accounts import keys


def ids() -> list[str | None]:
    return [each.id for each in run_checks(tags=["accounts"])]


def test_good_settings_pass() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("changes", "expected", "hint"),
    [
        ({"TOKEN_KEYS": ["x"]}, "accounts.E001", "NOTIFICATIONS_TOKEN_KEYS"),
        ({"TOKEN_KEYS": [keys.RS_PUBLIC]}, "accounts.E001", "NOTIFICATIONS_TOKEN_KEYS"),
        ({"GRANT_VALIDATOR": ""}, "accounts.E002", "GRANT_VALIDATOR"),
        ({"GRANT_VALIDATOR": "tests.nowhere.at_all"}, "accounts.E002", "GRANT_VALIDATOR"),
        (
            {"GRANT_VALIDATOR": "tests.accounts.grammar.not_callable"},
            "accounts.E002",
            "GRANT_VALIDATOR",
        ),
        (
            {"ACCESS_TOKEN_LIFETIME": timedelta(0)},
            "accounts.E003",
            "NOTIFICATIONS_ACCESS_TOKEN_SECONDS",
        ),
        (
            {"REFRESH_TOKEN_LIFETIME": timedelta(seconds=1)},
            "accounts.E003",
            "REFRESH_TOKEN_LIFETIME",
        ),
        (
            {"ACCESS_TOKEN_LIFETIME": timedelta(hours=1)},
            "accounts.W001",
            "NOTIFICATIONS_ACCESS_TOKEN_SECONDS",
        ),
    ],
)
def test_each_bad_setting_is_reported_with_what_to_set(
    settings: Settings, changes: dict[str, Any], expected: str, hint: str
) -> None:
    settings.ACCOUNTS = {**settings.ACCOUNTS, **changes}
    (found,) = run_checks(tags=["accounts"])
    assert found.id == expected
    assert hint in (found.hint or "")
