"""Who a message of the log is for, and whether they said that they processed it.

Readers of deliveries and the service that keeps them stand on this, so that both say the same.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, Exists, F, Func, OuterRef, Q
from django.db.models.functions import Coalesce

from notifications.log.patterns import patterns_matching
from notifications.models import Session, Subscription

TOPICS_AT_ONCE = 10
"""Topics whose patterns, fewer than 512 each, are looked up by one statement."""

CLIENTS_AT_ONCE = 1_000
"""Clients whose sessions are looked up by one statement."""

Client = tuple[str, str]
"""A principal and one of its client ids."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands: its topic, its partition and its offset there."""

    topic: str
    partition: int
    offset: int


class Begins:
    """After which offset clients want the messages of some topics; read when it is made."""

    def __init__(
        self,
        places: Iterable[Place],
        *,
        epoch: str,
        principals: Collection[str] | None = None,
    ) -> None:
        """Look up the subscriptions that match; principals: look at no others than these."""
        self._begins: dict[str, dict[Client, int]] = {}
        partitions = {place.topic: place.partition for place in places}
        for topics in _in_steps(sorted(partitions), TOPICS_AT_ONCE):
            matching = {topic: patterns_matching(topic) for topic in topics}
            held = _held({one for patterns in matching.values() for one in patterns}, principals)
            for topic, patterns in matching.items():
                self._begins[topic] = _earliest(
                    (row for pattern in patterns for row in held.get(pattern, ())),
                    partition=str(partitions[topic]),
                    epoch=epoch,
                )

    def want(self, place: Place, client: Client) -> bool:
        """Tell whether a client subscribes to a message."""
        begin = self._begins[place.topic].get(client)
        return begin is not None and begin < place.offset

    def wanted_by(self, place: Place) -> Iterator[Client]:
        """Yield the clients that subscribe to a message."""
        for client, begin in self._begins[place.topic].items():
            if begin < place.offset:
                yield client

    def clients(self) -> set[Client]:
        """Return all clients that subscribe to one of the topics."""
        return {client for begins in self._begins.values() for client in begins}


def open_sessions(clients: Collection[Client]) -> dict[Client, Any]:
    """Return the handle of the session that each client has; those without one are left out."""
    found: dict[Client, Any] = {}
    for some in _in_steps(sorted(clients), CLIENTS_AT_ONCE):
        # Two INs instead of pairs: what another client of these principals has is left out below.
        rows = Session.objects.filter(
            ended_at__isnull=True,
            principal__in={principal for principal, _ in some},
            client_id__in={client_id for _, client_id in some},
        ).values_list("principal", "client_id", "pk")
        found |= {
            (principal, client_id): pk
            for principal, client_id, pk in rows
            if (principal, client_id) in clients
        }
    return found


def subscribes(place: Place, *, epoch: str) -> Exists:
    """Return the condition that a session's client subscribes to a message, for a query."""
    begin = Coalesce(_OffsetAt(F("begin"), partition=place.partition), 0)
    return Exists(
        Subscription.objects.filter(
            principal=OuterRef("principal"),
            client_id=OuterRef("client_id"),
            pattern__in=patterns_matching(place.topic),
        )
        .annotate(begins_after=begin)
        .filter(~Q(epoch=epoch) | Q(begins_after__lt=place.offset))
    )


def has_acknowledged(acked: Mapping[str, Any], place: Place, *, epoch: str) -> bool:
    """Tell whether a session's `acked` cursor covers a message; another epoch's covers none."""
    if acked.get("epoch") != epoch:
        return False
    offset: int = acked.get("offsets", {}).get(str(place.partition), 0)
    return place.offset <= offset


class _OffsetAt(Func):
    """The offset that a JSON column of offsets by partition has for one; null where none.

    Django's own look-up takes a key of digits for a place in an array.
    """

    output_field = BigIntegerField()

    def __init__(self, column: F, *, partition: int) -> None:
        super().__init__(column, key=int(partition))

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="(%(expressions)s ->> '%(key)s')::bigint", **extra
        )

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(
            compiler,
            connection,
            template="json_extract(%(expressions)s, '$.\"%(key)s\"')",
            **extra,
        )


_Row = tuple[str, str, str, dict[str, int], str]


def _held(patterns: Collection[str], principals: Collection[str] | None) -> dict[str, list[_Row]]:
    rows = Subscription.objects.filter(pattern__in=patterns).order_by()
    if principals is not None:
        rows = rows.filter(principal__in=principals)
    held: dict[str, list[_Row]] = {}
    for row in rows.values_list("pattern", "principal", "client_id", "begin", "epoch"):
        held.setdefault(row[0], []).append(row)
    return held


def _earliest(rows: Iterable[_Row], *, partition: str, epoch: str) -> dict[Client, int]:
    """Return where each client begins: of several subscriptions the earliest counts."""
    begins: dict[Client, int] = {}
    for _, principal, client_id, begin, of_epoch in rows:
        client = (principal, client_id)
        offset = begin.get(partition, 0) if of_epoch == epoch else 0
        begins[client] = min(offset, begins.get(client, offset))
    return begins


def _in_steps(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
