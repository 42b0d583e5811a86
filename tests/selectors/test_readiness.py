from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from notifications.models import Log, Partition
from notifications.selectors import readiness
from notifications.selectors.readiness import NotMigratedError, require_database

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unknown() -> Iterator[None]:
    readiness._require_migrations.cache_clear()
    yield
    readiness._require_migrations.cache_clear()


def test_a_migrated_database_is_ready_and_then_asked_once(
    django_assert_num_queries: Any,
) -> None:
    require_database()
    with django_assert_num_queries(1):
        require_database()


def test_a_migration_that_waits_is_noticed_until_it_is_applied() -> None:
    newest = MigrationRecorder.Migration.objects.filter(app="notifications").latest("id")
    MigrationRecorder.Migration.objects.filter(pk=newest.pk).delete()
    for _ in range(2):
        with pytest.raises(NotMigratedError, match="migrate"):
            require_database()
    MigrationRecorder(connection).record_applied(newest.app, newest.name)
    require_database()


def test_without_a_log_nothing_is_ready() -> None:
    Partition.objects.all().delete()
    Log.objects.all().delete()
    with pytest.raises(NotMigratedError, match="migrate"):
        require_database()
