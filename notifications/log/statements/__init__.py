"""What appending sends to the database, in the two dialects.

Rows go in by statements of our own, not by the ORM's: model instances and `bulk_create` were most
of what a message cost. Both dialects write the same rows; one suite of tests runs over both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from django.db import connection

from notifications.log.statements.postgresql import PostgresStatements
from notifications.log.statements.rows import KeyRow, KnownKey, MessageRow, TopicRow
from notifications.log.statements.sqlite import SqliteStatements

__all__ = ["KeyRow", "KnownKey", "MessageRow", "Statements", "TopicRow", "statements"]


class Statements(Protocol):
    """The statements of one transaction of the log, in the order in which they may be used.

    They may all raise django.db.Error subclasses. Instants are milliseconds since 1970.
    """

    def together(self) -> AbstractContextManager[None]:
        """Let statements wait for each other's answers as little as they can.

        Enter it outside the transaction. What a statement does may then be found wrong as late as
        at the commit, and what the methods return must be called to be read.
        """
        ...

    def lock_heads(self, partitions: Sequence[int]) -> Callable[[], dict[int, int]]:
        """Lock partitions in their order to the end of the transaction; read their heads."""
        ...

    def take_pending(self, ids: Iterable[int]) -> set[int]:
        """Delete outbox rows; return those that were there."""
        ...

    def known_keys(self, identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownKey]:
        """Read what is known of (publisher, key) pairs."""
        ...

    def advance_topics(
        self, rows: Sequence[TopicRow], *, now: int
    ) -> Callable[[], dict[str, tuple[int, int]]]:
        """Advance topics' seqs, in the order given; make those that do not exist.

        Reads each topic's id and its newest seq, by name.
        """
        ...

    def insert_messages(self, rows: Sequence[MessageRow], *, published_at: int) -> None:
        """Insert messages."""
        ...

    def insert_keys(self, rows: Sequence[KeyRow], *, published_at: int) -> None:
        """Insert idempotency keys, in the order given."""
        ...

    def move_heads(self, heads: Mapping[int, int]) -> None:
        """Set partitions' heads."""
        ...


_DIALECTS: dict[str, Statements] = {
    "postgresql": PostgresStatements(),
    "sqlite": SqliteStatements(),
}


def statements() -> Statements:
    """Return the statements in the dialect of the database in use."""
    return _DIALECTS[connection.vendor]
