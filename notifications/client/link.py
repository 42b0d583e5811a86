"""Connections over time: one at once, the next after a wait, until one side ends it."""

import asyncio
import random
from typing import Protocol

from notifications.client.connection import Connection, ConnectionEnded
from notifications.client.wire import Received, Wire
from notifications.protocol.codes import CloseCode
from notifications.protocol.frames import Auth, AuthSuccess, Retry
from notifications.resilience.backoff import RetryPolicy, backoff_delay

STABLE = 5.0
"""A connection that lived this many seconds was a success: the count of failures begins anew."""

MAX_RETRY_AFTER = 3_600_000
"""The longest wait, in milliseconds, that a server may ask for."""


class Owner(Protocol):
    """What a link needs of the client."""

    async def hello(self, attempt: int, last_reason: str | None) -> Auth:
        """Make the first frame of a connection; raises ConnectionEnded without a token."""

    def accepted(self, success: AuthSuccess) -> None:
        """Note that a connection is authenticated."""

    async def take(self, frame: Received) -> None:
        """Take a frame; nothing is read from the socket meanwhile."""

    def lost(self, ended: ConnectionEnded, retry_in: float | None) -> None:
        """Note that there is no connection; another attempt follows in milliseconds, or never."""


class Link:
    """Keeps a client connected.

    wire: what it speaks. policy: how retries are spaced; the server's advice replaces it when None.
    has_fresh_tokens: whether a token that expired can be replaced.
    """

    def __init__(
        self,
        url: str,
        owner: Owner,
        wire: Wire,
        *,
        policy: RetryPolicy | None,
        has_fresh_tokens: bool,
    ) -> None:
        self._url = url
        self._wire = wire
        self._owner = owner
        self._policy = policy or RetryPolicy()
        self._follows_advice = policy is None
        self._has_fresh_tokens = has_fresh_tokens
        self._connection: Connection | None = None
        self._ended: ConnectionEnded | None = None
        self._changed = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection | None:
        """The connection of this moment; None while there is none."""
        return self._connection

    def start(self) -> None:
        """Begin to connect."""
        self._runner = asyncio.create_task(self._run(), name="notifications-link")

    async def up(self, *, after: Connection | None = None) -> Connection:
        """Wait for a connection other than `after`; raises ConnectionEnded when none will come."""
        while self._connection is None or self._connection is after:
            if self._ended is not None:
                raise self._ended
            await self._changed.wait()
        return self._connection

    async def close(self) -> None:
        """End the link from the application's side."""
        ended = ConnectionEnded(
            "The client was closed.",
            code=CloseCode.NORMAL,
            reason="client_initiated",
            reconnect=False,
        )
        connection, runner = self._connection, self._runner
        self._end(ended)
        if connection is not None:
            await connection.close()
        if runner is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._keep_connected()
        except Exception as error:
            # A defect here or in the owner: whoever waits must hear of it.
            self._end(ConnectionEnded(f"The client failed: {error!r}", reconnect=False))
            raise

    async def _keep_connected(self) -> None:
        clock = asyncio.get_running_loop().time
        failures, last_reason = 0, None
        while True:
            try:
                hello = await self._owner.hello(failures, last_reason)
                connection, success = await Connection.open(self._url, hello, self._wire)
            except ConnectionEnded as error:
                ended = error
            else:
                opened_at = clock()
                self._accept(connection, success)
                ended = await connection.run(self._owner.take, success.heartbeat)
                if clock() - opened_at >= STABLE:
                    failures = 0
            self._connection = None
            if self._ended is not None:
                return
            if not self._comes_back(ended, failures):
                self._end(ended)
                return
            delay = self._delay(ended, failures)
            failures, last_reason = failures + 1, ended.reason
            self._owner.lost(ended, delay)
            await asyncio.sleep(delay / 1000)

    def _accept(self, connection: Connection, success: AuthSuccess) -> None:
        if self._follows_advice:
            self._policy = _policy_of(success.retry)
        self._connection = connection
        self._owner.accepted(success)
        self._pulse()

    def _comes_back(self, ended: ConnectionEnded, failures: int) -> bool:
        if ended.code == CloseCode.TOKEN_EXPIRED and not self._has_fresh_tokens:
            return False
        return ended.reconnect and self._policy.allows(failures)

    def _delay(self, ended: ConnectionEnded, failures: int) -> float:
        if ended.retry_after is not None:
            return min(ended.retry_after, MAX_RETRY_AFTER)
        # Spreading retries needs no secret randomness.
        return backoff_delay(failures, self._policy, random=random.random())  # noqa: S311

    def _end(self, ended: ConnectionEnded) -> None:
        if self._ended is None:
            self._ended = ended
            self._connection = None
            self._owner.lost(ended, None)
        self._pulse()

    def _pulse(self) -> None:
        # Everybody who waits now is woken; who comes later waits for the next change.
        self._changed.set()
        self._changed = asyncio.Event()


def _policy_of(advice: Retry) -> RetryPolicy:
    return RetryPolicy(
        max_retries=advice.max_retries,
        initial_delay=advice.initial_delay,
        max_delay=advice.max_delay,
        backoff_multiplier=advice.backoff_multiplier,
        jitter=advice.jitter,
        strategy=advice.strategy,
    )
