"""Open sessions: a client gets its session back or a new one, many clients in one transaction."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import connection, transaction

from accounts.principal import Principal
from notifications.conf import conf
from notifications.errors import NotificationError
from notifications.models import Session, Subscription
from notifications.services.batches import each_for_itself
from notifications.services.sessions import OPEN_STATES, places, prepared

_OPEN: Final = """
WITH asked (principal, client_id) AS (VALUES {asked})
SELECT held.id, held.secret_digest, held.principal, held.client_id, held.state, held.since,
    held.server_id, held.connects, held.taken_from, held.taken_at
FROM asked JOIN notifications_session held
    ON held.principal = asked.principal AND held.client_id = asked.client_id
WHERE held.ended_at IS NULL
ORDER BY held.id {lock}
"""
_HELD: Final = """
WITH asked (principal, client_id) AS (VALUES {asked})
SELECT held.* FROM asked JOIN notifications_subscription held
    ON held.principal = asked.principal AND held.client_id = asked.client_id
ORDER BY held.created_at
"""
_RESUME: Final = """
WITH back (id, state, since, server_id, connects, client_name, client_version, client_kind,
    capabilities, attempt, last_disconnect_reason, taken_from, was_taken) AS (VALUES {rows})
UPDATE notifications_session
SET state = back.state, reason = '', since = back.since, server_id = back.server_id,
    connects = back.connects, client_name = back.client_name,
    client_version = back.client_version, client_kind = back.client_kind,
    capabilities = back.capabilities, attempt = back.attempt,
    last_disconnect_reason = back.last_disconnect_reason, taken_from = back.taken_from,
    taken_at = CASE WHEN back.was_taken THEN back.since ELSE notifications_session.taken_at END
FROM back WHERE notifications_session.id = back.id
"""
_END: Final = """
UPDATE notifications_session
SET state = %s, reason = 'taken_over', since = %s, ended_at = %s WHERE id IN ({ids})
"""

State = Session.State
ClientKey = tuple[str, str]
"""A principal's id and the client id: what has one open session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDescription:
    """What a client says of itself when it authenticates."""

    client_id: str
    name: str = ""
    version: str = ""
    kind: str = ""
    capabilities: tuple[str, ...] = ()
    attempt: int = 0
    last_disconnect_reason: str = ""


class Opening(NamedTuple):
    """Who wants a session. resume: the secret of the one that it wants back."""

    principal: Principal
    client: ClientDescription
    resume: str | None = None

    @property
    def key(self) -> ClientKey:
        """Return whose session it is about."""
        return self.principal.id, self.client.client_id


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session that has just been opened.

    secret: the `sessionId` of the protocol; only its digest is kept.
    connects: how many sockets the session has had, this one included.
    resumed: whether it is the session that the client asked for, and not a new one.
    replaced: the handle of the session whose socket this one takes over, its own when it was
    resumed; None where no socket was open.
    """

    handle: uuid.UUID
    secret: str
    connects: int
    resumed: bool
    subscriptions: tuple[Subscription, ...]
    replaced: uuid.UUID | None


def open_sessions(
    openings: Sequence[Opening], *, server_id: str, now: datetime
) -> Sequence[OpenedSession | NotificationError]:
    """Go on with the sessions that clients want back, or open new ones; read the subscriptions.

    It is as if one came after the other: of two openings of a client the later takes the earlier
    over. A secret that is unknown, expired, of an ended session or of another client's resumes
    nothing, and the session that the client had is ended.
    """
    return each_for_itself(lambda batch: _Batch(server_id=server_id, now=now).open(batch), openings)


class _Batch:
    """The openings of one transaction.

    Sessions are locked and read, changed in memory one opening after the other, and written.
    """

    def __init__(self, *, server_id: str, now: datetime) -> None:
        self._server_id = server_id
        self._now = now
        self._resumed: dict[uuid.UUID, Session] = {}
        self._ended: set[uuid.UUID] = set()
        self._new: list[Session] = []

    def open(self, openings: Sequence[Opening]) -> list[OpenedSession | NotificationError]:
        keys = sorted({opening.key for opening in openings})
        with transaction.atomic():
            self._present = _locked_sessions(keys)
            decided = [self._decide(opening) for opening in openings]
            self._write()
            held = _subscriptions(keys)
        return [
            OpenedSession(
                handle=handle,
                secret=secret,
                connects=connects,
                resumed=resumed,
                subscriptions=tuple(held.get(opening.key, ())),
                replaced=replaced,
            )
            for opening, (handle, secret, connects, resumed, replaced) in zip(
                openings, decided, strict=True
            )
        ]

    def _decide(self, opening: Opening) -> tuple[uuid.UUID, str, int, bool, uuid.UUID | None]:
        before = self._present.get(opening.key)
        was_open = before is not None and before.state in OPEN_STATES
        replaced = before.pk if before is not None and was_open else None
        secret = opening.resume
        if before is not None and secret is not None and self._may_resume(before, secret):
            if was_open:
                before.taken_from, before.taken_at = before.server_id or "", self._now
            self._describe(before, opening.client)
            before.connects += 1
            if not before._state.adding:
                self._resumed[before.pk] = before
            return before.pk, secret, before.connects, True, replaced
        secret = secrets.token_urlsafe(24)
        session = Session(
            secret_digest=digest_of(secret),
            principal=opening.principal.id,
            user_id=opening.principal.user_id,
            client_id=opening.client.client_id,
            connects=before.connects + 1 if before is not None else 1,
            created_at=self._now,
        )
        self._describe(session, opening.client)
        if before is not None:
            self._end(before)
        self._present[opening.key] = session
        self._new.append(session)
        return session.pk, secret, session.connects, False, replaced

    def _may_resume(self, session: Session, secret: str) -> bool:
        if not secrets.compare_digest(session.secret_digest, digest_of(secret)):
            return False
        # The sweep that ends it may not have come by yet.
        away_since = self._now - timedelta(seconds=conf().session)
        return session.state in OPEN_STATES or session.since >= away_since

    def _describe(self, session: Session, client: ClientDescription) -> None:
        session.state, session.reason, session.since = State.CONNECTED, "", self._now
        session.server_id = self._server_id
        session.client_name = client.name
        session.client_version = client.version
        session.client_kind = client.kind
        session.capabilities = list(client.capabilities)
        session.attempt = client.attempt
        session.last_disconnect_reason = client.last_disconnect_reason

    def _end(self, session: Session) -> None:
        session.state, session.reason = State.DISCONNECTED, "taken_over"
        session.since = session.ended_at = self._now
        if not session._state.adding:
            self._ended.add(session.pk)

    def _write(self) -> None:
        uuid_of, moment_of, json_of = prepared("id"), prepared("since"), prepared("capabilities")
        now = moment_of(self._now)
        rows = [
            (
                uuid_of(session.pk),
                State.CONNECTED.value,
                now,
                self._server_id,
                session.connects,
                session.client_name,
                session.client_version,
                session.client_kind,
                json_of(session.capabilities),
                session.attempt,
                session.last_disconnect_reason,
                session.taken_from,
                session.taken_at == self._now,
            )
            for session in self._resumed.values()
        ]
        ended = [uuid_of(handle) for handle in self._ended]
        with connection.cursor() as cursor:
            if rows:
                values = [value for row in rows for value in row]
                cursor.execute(_RESUME.format(rows=places(rows)), values)
            if ended:
                ids = ", ".join(["%s"] * len(ended))
                state = State.DISCONNECTED.value
                cursor.execute(_END.format(ids=ids), [state, now, now, *ended])
        # In one order, so that two processes do not wait for each other's; the ended ones before.
        Session.objects.bulk_create(
            sorted(self._new, key=lambda session: (session.principal, session.client_id))
        )


def _locked_sessions(keys: Sequence[ClientKey]) -> dict[ClientKey, Session]:
    """Lock and return the open sessions of some clients."""
    lock = "FOR NO KEY UPDATE OF held" if connection.features.has_select_for_update else ""
    rows = Session.objects.raw(_OPEN.format(asked=places(keys), lock=lock), _flat(keys))
    return {(row.principal, row.client_id): row for row in rows}


def _subscriptions(keys: Sequence[ClientKey]) -> dict[ClientKey, list[Subscription]]:
    """Return the subscriptions of some clients, oldest first."""
    held: dict[ClientKey, list[Subscription]] = {}
    for row in Subscription.objects.raw(_HELD.format(asked=places(keys)), _flat(keys)):
        held.setdefault((row.principal, row.client_id), []).append(row)
    return held


def _flat(keys: Sequence[ClientKey]) -> list[str]:
    return [text for key in keys for text in key]


def digest_of(secret: str) -> str:
    """Return what is kept of a session's secret; 192 random bits need no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()
