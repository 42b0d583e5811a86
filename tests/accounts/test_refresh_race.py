"""Many present one refresh token at once: on PostgreSQL, since SQLite lets writers in singly."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from accounts.errors import InvalidRefreshTokenError
from accounts.models import RefreshToken, TokenFamily
from accounts.refresh import rotate, start_family
from accounts.services import create_user

THREADS = 8


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_one_of_many_spends_a_token_and_the_family_ends() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: set DATABASE_URL")
    refresh = start_family(create_user(username="ada", password=None)).refresh
    start = threading.Barrier(THREADS)

    def present(_: int) -> bool:
        try:
            connection.ensure_connection()
            start.wait(timeout=10)
            rotate(refresh)
        except InvalidRefreshTokenError:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        spent = list(pool.map(present, range(THREADS)))
    assert spent.count(True) == 1
    assert RefreshToken.objects.count() == 2
    assert TokenFamily.objects.get().revoked_at is not None
