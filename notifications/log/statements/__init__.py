"""What appending sends to the database, in the two dialects.

Rows go in by statements of our own, not by the ORM's: model instances and `bulk_create` were most
of what a message cost. Both dialects write the same rows; one suite of tests runs over both.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from django.db import connection

from notifications.log.statements.postgresql import PostgresStatements
from notifications.log.statements.rows import KnownKey, Place, Row
from notifications.log.statements.sqlite import SqliteStatements

__all__ = ["KnownKey", "Place", "Row", "Statements", "statements"]


class Statements(Protocol):
    """The statements of the log. They may all raise django.db.Error subclasses.

    Instants are milliseconds since 1970.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Make ready to write; where `write` is no transaction by itself, everything within is one.

        Raises RuntimeError inside a transaction.
        """
        ...

    def known_keys(self, identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownKey]:
        """Read what is known of (publisher, key) pairs."""
        ...

    def write(
        self, rows: Sequence[Row], *, published_at: int, before_commit: Callable[[], None]
    ) -> list[Place | None]:
        """Give every row the next place in its partition and topic, and write it; all or none.

        Returns their places; None for a row whose outbox row is gone, which is not written.
        before_commit: called while it is certain that nothing was committed; once only.
        """
        ...

    def take_pending(self, ids: Iterable[int]) -> set[int]:
        """Delete outbox rows; return those that were there."""
        ...


_DIALECTS: dict[str, Statements] = {
    "postgresql": PostgresStatements(),
    "sqlite": SqliteStatements(),
}


def statements() -> Statements:
    """Return the statements in the dialect of the database in use."""
    return _DIALECTS[connection.vendor]
