"""Replays on a connection: one at a time, beside the requests that go on meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from notifications import metrics
from notifications.conf import conf
from notifications.errors import RateLimited, Unavailable
from notifications.gateway.rates import require_rate
from notifications.hub.replay import LostPlaceError, StoppedError
from notifications.hub.wanted import Caps, Replay
from notifications.permissions import may_subscribe
from notifications.protocol.codes import CloseCode
from notifications.protocol.frames import Cursor, ReplayComplete, RequestId
from notifications.recovery.cursor import (
    Offsets,
    Unrecovered,
)
from notifications.resilience.bucket import TokenBucket
from notifications.services.policies import policies

if TYPE_CHECKING:
    from notifications.gateway.connection import Connection
    from notifications.gateway.outside_changes import OutsideChanges

BURST = 100
"""Replays that a connection may ask for in a row: one for each subscription that it may hold."""

RATE = 2.0
"""Replays a second that it may go on with."""

LEVEL_DEADLINE = 10.0
"""Seconds that a request may wait until its connection has caught up after a replay."""

logger = structlog.get_logger(__name__)


class Replays:
    """The replay of a connection that is under way, if there is one."""

    __slots__ = ("_asked", "_connection", "_is_complete", "_missed", "_task", "changes")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self._is_complete = False
        self._missed: Replay | None = None
        self._asked: TokenBucket | None = None  # most connections never ask
        self.changes: OutsideChanges | None = None

    @property
    def place(self) -> Offsets | None:
        """How far the client has been given what it missed before it resumed; None unless that is
        going out.

        Its cursor stands there. What it asks for itself moves no cursor back.
        """
        if self._missed is None:
            return None
        splice = self._missed.splice
        return splice.place if splice is not None else self._missed.after

    async def require_none(self) -> None:
        """Raise RateLimited while a replay is going out, or too many others wait for theirs, or
        this client has asked too often.

        After its replay_complete a connection catches up with live delivery; that is waited for,
        as the next replay ends where the client has had everything.
        """
        if self._connection.process.hub.turns.is_full:
            metrics.replays_refused.labels("line").inc()
            raise RateLimited("Too many clients replay now; ask again later.", retry_after=5000)
        self._require_rate()
        if self._task is None or self._task.done():
            return
        if self._is_complete:
            await asyncio.wait([self._task], timeout=LEVEL_DEADLINE)
        if not self._task.done():
            metrics.replays_refused.labels("busy").inc()
            raise RateLimited(
                "A replay is going out on this connection; wait for its replay_complete.",
                retry_after=1000,
            )

    def _require_rate(self) -> None:
        self._asked = require_rate(
            self._asked,
            rate=RATE,
            burst=BURST,
            refused=metrics.replays_refused.labels("rate"),
            advice="This connection asked for many replays lately; ask less often.",
        )

    def start(
        self,
        after: Offsets | Unrecovered,
        through: Offsets,
        *,
        request_id: RequestId | None,
        only: str | None = None,
        ignore_begin: bool = False,
        after_resume: bool = False,
        max_age: int | None = None,
    ) -> None:
        """Begin a replay on a connection that has been detached at `through`; it is attached
        again afterwards.

        after: why it cannot be whole, when that is known already.
        """
        connection = self._connection
        replay = Replay(
            after=through if isinstance(after, Unrecovered) else after,
            through=through,
            floors=connection.process.hub.floors,
            caps=caps(),
            only=only,
            ignore_begin=ignore_begin,
            after_resume=after_resume,
            max_age=max_age,
            permitted=self._may_read,
        )
        self._is_complete = False
        if after_resume:
            self._missed = replay
        known = after if isinstance(after, Unrecovered) else None
        end = connection.process.hub.cursor_at(through)
        self._task = asyncio.create_task(self._run(replay, known, end, request_id), name="replay")

    async def bring(self, pattern: str, after: Offsets, through: Offsets) -> None:
        """Send what a subscription has missed that others began, once no other replay goes out.

        The connection has been detached at `through`. What its other subscriptions wanted of it is
        left out: the client has had that. What cannot be sent is told as a gap.
        """
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        self._is_complete = False
        self._task = asyncio.create_task(self._bring(pattern, after, through), name="missed")
        await self._task

    async def _bring(self, pattern: str, after: Offsets, through: Offsets) -> None:
        hub, subscriber = self._connection.process.hub, self._connection.subscriber
        replay = Replay(
            after=after,
            through=through,
            floors=hub.floors,
            caps=caps(),
            only=pattern,
            besides=True,
            ignore_begin=True,
            permitted=self._may_read,
        )
        unrecovered = await hub.feeder.replay(subscriber, replay)
        if unrecovered is not None:
            subscriber.tell_gap(None, unrecovered.value)

    def _may_read(self, topic: str) -> bool:
        principal = self._connection.principal  # asked anew: a refresh may bring other grants
        return principal is not None and may_subscribe(principal, topic)

    def stop(self) -> None:
        """Send nothing of it any more."""
        if self.changes is not None:
            self.changes.stop()
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until a stopped replay is over."""
        if self.changes is not None:
            await self.changes.ended()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(
        self,
        replay: Replay,
        known: Unrecovered | None,
        end: Cursor,
        request_id: RequestId | None,
    ) -> None:
        connection = self._connection
        hub, subscriber = connection.process.hub, connection.subscriber
        async with leaving_on_failure(connection):
            unrecovered = known or await hub.feeder.replay(subscriber, replay)
            require_epoch(connection, end.epoch)
            self._missed, self._is_complete = None, True
            metrics.replays.labels(unrecovered or "recovered").inc()
            subscriber.told = replay.through
            connection.send(
                ReplayComplete(
                    id=request_id,
                    recovered=unrecovered is None,
                    count=replay.count,
                    cursor=end,
                    reason=unrecovered.value if unrecovered is not None else None,
                )
            )
            await hub.attach(subscriber)


@asynccontextmanager
async def leaving_on_failure(connection: "Connection") -> AsyncIterator[None]:
    """Close a connection that could not be fed from the log to the end; it will resume."""
    try:
        yield
    except StoppedError:
        pass  # it is closing already
    except LostPlaceError:
        connection.disconnect(CloseCode.LOST_PLACE, "The log does not have it any more. Resume.")
    except Unavailable:
        connection.disconnect(
            CloseCode.TRY_AGAIN_LATER, "The log cannot be read now. Resume.", retry_after=1000
        )
    except Exception:
        logger.exception("a replay failed")
        connection.disconnect(CloseCode.LOST_PLACE, "The replay failed. Resume.")


def require_epoch(connection: "Connection", epoch: str) -> None:
    """Raise LostPlaceError when offsets of an epoch are offsets of the past.

    For whoever has waited since it took them: in another life of the log they mean nothing.
    """
    if connection.process.hub.identity.epoch != epoch:
        raise LostPlaceError


def caps() -> Caps:
    """Return how many messages a replay may bring now."""
    total = conf().replay_max_messages
    own = [cap for policy in policies if (cap := policy.replay_messages) is not None]
    return Caps(total, _policy_cap, least=min(own)) if own else Caps(total)


def _policy_cap(topic: str) -> tuple[str, int] | None:
    policy = policies.of(topic)
    if policy.pattern is None or policy.replay_messages is None:
        return None
    return policy.pattern, policy.replay_messages
