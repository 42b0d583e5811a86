"""Requests that wait for their reply, by id. Bound: what callers ask at once."""

from collections.abc import Callable
from dataclasses import dataclass

from bellwether_client.backoff import MAX_RETRY_AFTER
from bellwether_client.errors import NotificationError
from bellwether_client.frames import (
    ErrorFrame,
    Published,
    Refreshed,
    ReplayComplete,
    RequestId,
    Subscribed,
    Unsubscribed,
    Verified,
)

Reply = Published | Refreshed | ReplayComplete | Subscribed | Unsubscribed | Verified

ASK_AGAIN = 1_000.0
"""Milliseconds until what was refused for now is asked again, when the server names no time."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What becomes of a reply: it takes effect before the next frame of its batch is read.

    lost: the connection ended first, and whether the server did it is unknown.
    """

    ok: Callable[[Reply], None]
    refused: Callable[[NotificationError], None]
    lost: Callable[[], None]


def ask_again_after(error: NotificationError) -> float:
    """Return the milliseconds until what was refused for now is asked again."""
    return ASK_AGAIN if error.retry_after is None else min(error.retry_after, MAX_RETRY_AFTER)


class Requests:
    """The requests on a connection that await a reply."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[RequestId, Expected] = {}

    def new_id(self) -> int:
        """Return a number that no request had."""
        self._last += 1
        return self._last

    def expect(self, request_id: RequestId, expected: Expected) -> None:
        """Wait for a reply."""
        self._waiting[request_id] = expected

    def answer(self, request_id: RequestId | None, reply: Reply | ErrorFrame) -> bool:
        """Give a reply to the request that it answers; False when none does."""
        expected = None if request_id is None else self._waiting.pop(request_id, None)
        if expected is None:
            return False
        if isinstance(reply, ErrorFrame):
            expected.refused(reply.error)
        else:
            expected.ok(reply)
        return True

    def lose(self) -> None:
        """Tell all who wait that no reply will come over this connection."""
        lost, self._waiting = list(self._waiting.values()), {}
        for expected in lost:
            expected.lost()
