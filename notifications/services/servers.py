"""Server processes: say that they live, and clear up after those that don't."""

import os
import secrets
import socket
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q

from notifications.models import Server, Session
from notifications.services.sessions import OPEN_STATES

BEAT_INTERVAL = 3.0
"""Seconds between two signs of life of a server."""

DEAD_AFTER = 10.0
"""Seconds of silence after which a server is taken for dead."""

SOCKETS_AT_ONCE = 1_000
"""Sockets whose sessions one statement looks up."""

FORGOTTEN_AFTER = timedelta(days=7)
"""Age at which the row of a stopped server is deleted."""


def new_server_id() -> str:
    """Name this process: where it runs, and a random part because pids come again."""
    host = socket.gethostname().split(".")[0][:32]
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


def register_server(server_id: str, *, now: datetime) -> None:
    """Make the row of a server that starts."""
    Server.objects.create(
        id=server_id, host=socket.gethostname()[:255], pid=os.getpid(), started_at=now, seen_at=now
    )


def beat(server_id: str, *, now: datetime) -> bool:
    """Note that a server lives; False when others have taken it for dead meanwhile.

    A server that was taken for dead (it hung, or the database was away from it) is alive again,
    but the states of its sessions were changed, and it has to write them anew.
    """
    believed = Server.objects.filter(pk=server_id, stopped_at__isnull=True).update(seen_at=now)
    if not believed:
        Server.objects.filter(pk=server_id).update(seen_at=now, stopped_at=None)
    return bool(believed)


def open_on(server_id: str) -> dict[uuid.UUID, tuple[int, datetime]]:
    """Return the sessions that are open on a server, by handle: which of a session's sockets it
    is, and since when."""
    rows = Session.objects.filter(server_id=server_id, state__in=OPEN_STATES).order_by()
    return {
        pk: (connects, since) for pk, connects, since in rows.values_list("pk", "connects", "since")
    }


def superseded(sockets: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, tuple[int, str | None]]:
    """Return those of some sockets that their sessions have no use for any more, by handle: how
    many sockets the session has had by now, and why it ended (None where it goes on).

    sockets: which of a session's sockets each is.
    """
    found: dict[uuid.UUID, tuple[int, str | None]] = {}
    handles = list(sockets)
    for start in range(0, len(handles), SOCKETS_AT_ONCE):
        rows = Session.objects.filter(pk__in=handles[start : start + SOCKETS_AT_ONCE]).order_by()
        for pk, connects, ended_at, reason in rows.values_list(
            "pk", "connects", "ended_at", "reason"
        ):
            if connects > sockets[pk] or ended_at is not None:
                found[pk] = (connects, None if ended_at is None else reason)
    return found


def leave_strays(server_id: str, strays: Mapping[uuid.UUID, int], *, now: datetime) -> int:
    """Mark sessions whose sockets a server does not have; return how many changed.

    strays: as `open_on` returned them; those that changed meanwhile are left alone.
    """
    changed = 0
    for handle, connects in strays.items():
        of_socket = Session.objects.filter(
            pk=handle, server_id=server_id, connects=connects, state__in=OPEN_STATES
        )
        changed += of_socket.update(
            state=Session.State.RECONNECTING, reason="network_error", since=now
        )
    return changed


def stop_server(server_id: str, *, now: datetime) -> None:
    """Note that a server ended, and that its clients are about to come back elsewhere."""
    with transaction.atomic():
        Server.objects.filter(pk=server_id).update(stopped_at=now)
        _leave_sessions([server_id], reason="server_stopped", now=now)


def clear_dead_servers(*, now: datetime) -> int:
    """Mark the sessions of servers that died without a word; return how many changed."""
    with transaction.atomic():
        dead = list(
            Server.objects.select_for_update()
            .filter(stopped_at__isnull=True, seen_at__lt=now - timedelta(seconds=DEAD_AFTER))
            .values_list("pk", flat=True)
        )
        Server.objects.filter(pk__in=dead).update(stopped_at=F("seen_at"))
        changed = _leave_sessions(dead, reason="server_lost", now=now) if dead else 0
    Server.objects.filter(stopped_at__lt=now - FORGOTTEN_AFTER).delete()
    return changed


def _leave_sessions(server_ids: list[str], *, reason: str, now: datetime) -> int:
    return Session.objects.filter(Q(server__in=server_ids), state__in=OPEN_STATES).update(
        state=Session.State.RECONNECTING, reason=reason, since=now
    )
