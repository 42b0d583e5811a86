"""The places in the log that a client names: its cursor, and where `options.since` begins."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from notifications.conf import conf
from notifications.database import in_database
from notifications.log.newest import read_newest
from notifications.log.read import read_state
from notifications.recovery.cursor import MAX_OFFSET, Offsets, Unrecovered, parse_cursor
from notifications.topics.partitions import partitions_of

if TYPE_CHECKING:
    from notifications.gateway.connection import Connection


def read_client_cursor(connection: "Connection", cursor: object) -> Offsets | Unrecovered:
    """Read a cursor that the client sent, against the log as this process knows it.

    `reach_cursor` first, unless this process has just looked at the log.
    """
    hub = connection.process.hub
    return parse_cursor(cursor, epoch=hub.identity.epoch, heads=hub.heads())


async def reach_cursor(connection: "Connection", cursor: object) -> None:
    """Come as far as a cursor is that the client sent, if the log has; raises Unavailable.

    The client may have it from a process that is ahead of this one. What lies beyond the log all
    the same is no cursor of it. That takes a reading, in its turn: who makes offsets up delays
    nobody's live delivery.
    """
    hub = connection.process.hub
    if _is_ahead(cursor, epoch=hub.identity.epoch, heads=hub.heads()):
        await hub.reach(await hub.turns.read(read_state))


def _is_ahead(cursor: object, *, epoch: str, heads: Offsets) -> bool:
    if isinstance(parse_cursor(cursor, epoch=epoch, heads=heads), Unrecovered):
        anywhere = [MAX_OFFSET] * len(heads)
        found = parse_cursor(cursor, epoch=epoch, heads=anywhere)
        # Another epoch may be one that has begun, and is not known here yet.
        return found is Unrecovered.EPOCH_CHANGED or not isinstance(found, Unrecovered)
    return False


async def since_place(
    connection: "Connection", pattern: str, since: object, through: Offsets
) -> Offsets | Unrecovered:
    """Find the place that `options.since` names: a cursor, or before the newest n messages."""
    if not isinstance(since, Mapping) or since.get("last") is None:
        return read_client_cursor(connection, since)
    if since["last"] > conf().replay_max_messages:
        return Unrecovered.TOO_MANY
    partitions = partitions_of(pattern, len(through))
    found = await in_database(read_newest, pattern, partitions, through, since["last"])
    place = [found.get(partition, head) for partition, head in enumerate(through)]
    return tuple(place)
