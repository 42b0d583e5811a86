"""A grammar of our own for grants, somebody to log in, and a key for a program."""

from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import ApiKey, User
from accounts.services import create_api_key, create_user

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _plain_grammar(settings: Settings) -> None:
    validator = "tests.accounts.grammar.refuse_spaces"
    settings.ACCOUNTS = {**settings.ACCOUNTS, "TOKEN_KEYS": [], "GRANT_VALIDATOR": validator}


@pytest.fixture
def user(db: Any) -> User:
    return create_user(
        username="ada", password=PASSWORD, publish=["orders.*"], subscribe=["orders.**", "news"]
    )


@pytest.fixture
def key(db: Any) -> tuple[ApiKey, str]:
    return create_api_key(name="shop", publish=["orders.*"], subscribe=["orders.**"])
