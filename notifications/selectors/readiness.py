"""Readiness: whether the database is there and has the tables that this code expects."""

from functools import cache

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from notifications.models import Log


class NotMigratedError(Exception):
    """`migrate` has not been run, or not since the code was updated."""


def require_database() -> None:
    """Raise NotMigratedError, or a django.db error when the database does not answer. One query."""
    _require_migrations()
    if not Log.objects.exists():
        raise NotMigratedError("The log has not been made; run manage.py migrate.")


@cache
def _require_migrations() -> None:
    # Asked until the answer is yes: what a running process expects does not change after that,
    # and a cache does not keep what was raised.
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigratedError("Migrations wait to be applied; run manage.py migrate.")
