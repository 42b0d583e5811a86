"""Welcome clients: who authenticates is proven and has a session opened, many at a time.

All that a batch of clients needs of the database is one transaction and a query for each of: the
tokens, the keys, the sessions, the subscriptions, and the state of the log.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from accounts.authentication import authenticate_all
from accounts.errors import CredentialsError
from accounts.principal import Principal
from notifications import metrics
from notifications.errors import NotificationError, TokenExpired, Unauthenticated
from notifications.log.read import LogState, read_state
from notifications.models import Session
from notifications.services.batches import Gathering
from notifications.services.opening import (
    ClientDescription,
    OpenedSession,
    Opening,
    open_sessions,
)
from notifications.services.sessions import SessionChange

OPENINGS_BATCH = 200
"""Clients that one transaction opens sessions for."""

OPENINGS_BOUND = 10_000
"""Clients that may wait; as many sockets as a process serves by default."""

OPENING_DEADLINE = 9.0
"""Seconds in which a client has its answer: ours wait ten, and who is told to come again makes the
line longer."""


class Credentials(NamedTuple):
    """What a client authenticates with. resume: the secret of the session that it wants back."""

    token: str
    client: ClientDescription
    resume: str | None = None


class Welcome(NamedTuple):
    """Who came, its session, and how far the log was after its `auth` had come."""

    principal: Principal
    session: OpenedSession
    state: LogState


class Openings(Gathering[Credentials, Welcome]):
    """The clients of one server process that wait for their sessions.

    Bound: OPENINGS_BOUND. Policy: over it a client is told to come again (1013). Metrics:
    bellwether_openings_waiting, bellwether_opening_batch_size, bellwether_openings_refused.
    note: has a session's state written.
    """

    def __init__(self, server_id: str, note: Callable[[SessionChange], None]) -> None:
        super().__init__(
            lambda batch: welcome(batch, server_id=server_id, now=timezone.now()),
            unwanted=lambda welcome: note(_left(welcome.session, server_id)),
            size=OPENINGS_BATCH,
            bound=OPENINGS_BOUND,
            deadline=OPENING_DEADLINE,
            waiting=metrics.openings_waiting,
            batch_size=metrics.opening_batch_size,
            refused=metrics.openings_refused,
        )


def _left(session: OpenedSession, server_id: str) -> SessionChange:
    """Say of a session that its client had gone, or was given up, before it was opened."""
    return SessionChange(
        handle=session.handle,
        server_id=server_id,
        connects=session.connects,
        state=Session.State.RECONNECTING,
        reason="network_error",
        since=timezone.now(),
    )


def welcome(
    batch: Sequence[Credentials], *, server_id: str, now: datetime
) -> list[Welcome | NotificationError]:
    """Prove who comes and open their sessions, in their order; refuse each for itself."""
    proven = authenticate_all(one.token for one in batch)
    answers: dict[int, Welcome | NotificationError] = {}
    openings: dict[int, Opening] = {}
    for number, one in enumerate(batch):
        principal = proven[one.token]
        if isinstance(principal, CredentialsError):
            answers[number] = refusal_of(principal)
        else:
            openings[number] = Opening(principal, one.client, one.resume)
    if openings:
        # Before the sessions: what fails afterwards would leave them open with nobody who has them.
        # A client's cursor is older than its `auth`, so the log need not be looked at later.
        state = read_state()
        sessions = open_sessions(list(openings.values()), server_id=server_id, now=now)
        for (number, opening), session in zip(openings.items(), sessions, strict=True):
            if isinstance(session, OpenedSession):
                answers[number] = Welcome(opening.principal, session, state)
            else:
                answers[number] = session
    return [answers[number] for number in range(len(batch))]


def refusal_of(error: CredentialsError) -> NotificationError:
    """Return the protocol's error for credentials that prove nothing."""
    return (TokenExpired if error.code == TokenExpired.code else Unauthenticated)(str(error))
