"""The states of the connection as a table. An illegal event is one named error."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from bellwether_client.codes import DisconnectReason
from bellwether_client.errors import ConnectionError, IllegalTransition

Status = Literal["disconnected", "connecting", "connected", "reconnecting"]

StateEvent = Literal["try", "establish", "lose", "end"]
"""try: an attempt begins. establish: the server accepted the token. lose: an attempt or a
connection failed, and a retry is planned. end: no retry will follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """There is no connection, and none is tried for.

    reason: None before the first. last_connected_at: UTC.
    """

    reason: DisconnectReason | None = None
    last_connected_at: datetime | None = None
    status: Literal["disconnected"] = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """An attempt is on its way.

    attempt: the number of the retry; 0 is the first try. started_at: UTC.
    """

    attempt: int
    started_at: datetime
    status: Literal["connecting"] = "connecting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The server accepted the token.

    connected_at: UTC. latency: milliseconds of the last round trip.
    """

    connected_at: datetime
    server_id: str
    latency: float
    status: Literal["connected"] = "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnecting:
    """The connection, or an attempt, failed; the next one is waited for.

    attempt: the number of the retry that is waited for, from 1. next_retry_at: UTC.
    backoff_delay: milliseconds.
    """

    attempt: int
    last_error: ConnectionError
    next_retry_at: datetime
    backoff_delay: float
    status: Literal["reconnecting"] = "reconnecting"


ConnectionState = Disconnected | Connecting | Connected | Reconnecting

StateListener = Callable[[ConnectionState], None]
"""A plain function: what a coroutine function returns nobody would await."""

TRANSITIONS: dict[Status, dict[StateEvent, Status]] = {
    "disconnected": {"try": "connecting"},
    "connecting": {"establish": "connected", "lose": "reconnecting", "end": "disconnected"},
    "connected": {"lose": "reconnecting", "end": "disconnected"},
    "reconnecting": {"try": "connecting", "end": "disconnected"},
}


def next_status(status: Status, event: StateEvent) -> Status:
    """Return the status after an event; raises IllegalTransition."""
    after = TRANSITIONS[status].get(event)
    if after is None:
        raise IllegalTransition(f"{event} while {status}")
    return after


class StateMachine:
    """Holds the state, and tells the listeners of each transition, in their order."""

    def __init__(self, logger: logging.Logger) -> None:
        self.state: ConnectionState = Disconnected()
        self._listeners: list[StateListener] = []
        self._logger = logger

    def listen(self, listener: StateListener) -> Callable[[], None]:
        """Call the listener at each transition; returns what removes it."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def move(self, event: StateEvent, state: ConnectionState) -> None:
        """Move to a state, which must be where the event leads."""
        after = next_status(self.state.status, event)
        if after != state.status:
            raise IllegalTransition(f"{event} leads to {after}")
        self.state = state
        for listener in list(self._listeners):
            try:
                listener(state)
            except (Exception, asyncio.CancelledError):  # the latter is of something it looked at
                self._logger.exception("a listener of the connection's state failed")

    def measure(self, latency: float) -> None:
        """Note a new round trip; no transition, so nobody is told."""
        if isinstance(self.state, Connected):
            self.state = replace(self.state, latency=latency)
