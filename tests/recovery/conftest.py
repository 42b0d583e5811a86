"""The still world in place of the real clock, database threads and ids."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from accounts.services import create_user
from accounts.tokens import issue_access_token
from notifications import database as database_module
from notifications.hub import follower as hub_module
from notifications.log import append as append_module
from notifications.log import records as records_module
from notifications.log.identity import log_identity
from notifications.services import session_changes
from tests.recovery.machine.world import World


@pytest.fixture
def token(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Still the world, and return the access token of a user who may read everything in it."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # one thread does everything
    monkeypatch.setattr(database_module, "_executor_of", lambda *_: World.current.database)
    monkeypatch.setattr(database_module, "close_old_connections", lambda: None)
    monkeypatch.setattr(hub_module, "GRACE", 0)
    monkeypatch.setattr(session_changes, "CHANGES_PAUSE", 0)
    # The clock of now_ms, whoever imported that.
    monkeypatch.setattr(records_module, "time", SimpleNamespace(time_ns=World.time_ns))
    # Ids in the order of the log, and the same in every run.
    monkeypatch.setattr(
        append_module,
        "new_message_ids",
        lambda instant, count: [str(World.next_id(instant)) for _ in range(count)],
    )
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA synchronous=OFF")
        else:
            cursor.execute("SET synchronous_commit = off")
    user = create_user(username="reader", password=None, subscribe=["**"])
    yield issue_access_token(user).access
    log_identity.cache_clear()
    get_user_model().objects.all().delete()
    connection.close()  # what was set for it goes with it
