"""Connections over time: one at once, the next after a wait, until one side ends it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Literal, Protocol

from bellwether_client.backoff import backoff_delay, retry_wait
from bellwether_client.breaker import Breaker, Circuit, worse
from bellwether_client.codec import Codec
from bellwether_client.codes import CloseCode, DisconnectReason
from bellwether_client.config import NotificationClientConfig, RetryConfig
from bellwether_client.connection import Connection
from bellwether_client.down import Down, overwhelmed
from bellwether_client.errors import ConnectionError
from bellwether_client.frames import AuthSuccess, ServerFrame
from bellwether_client.states import (
    Connected,
    Connecting,
    ConnectionState,
    Disconnected,
    Reconnecting,
    StateMachine,
)
from bellwether_client.statistics import Failure, Statistics
from bellwether_client.surroundings import Surroundings
from bellwether_client.tasks import Tasks, Timers

logger = logging.getLogger("bellwether_client")

STABLE = 5_000.0
"""A connection that lived this many milliseconds was a success: the count of failures begins
anew."""


class Told(Protocol):
    """What a link asks of the client, and tells it."""

    async def hello(self, attempt: int, last_reason: DisconnectReason | None) -> dict[str, Any]:
        """Make the first frame. attempt: the number of the retry, 0 at first."""

    def accepted(self, frame: AuthSuccess) -> None:
        """A connection is authenticated."""

    def frame(self, frame: ServerFrame) -> None:
        """A frame after that."""

    def unreadable(self, detail: str) -> None:
        """A frame that breaks the protocol."""

    def unknown(self, kind: str) -> None:
        """A frame of a type that this client does not know."""

    def lost(self) -> None:
        """The connection is gone."""

    def ended(self, error: ConnectionError) -> None:
        """No other will follow."""

    def circuit_changed(self, circuit: Circuit) -> None:
        """A breaker opened, half-opened or closed."""


class Link:
    """Keeps a client connected.

    token_breaker: the one around the token function, whose time a retry waits out as well.
    """

    def __init__(
        self,
        told: Told,
        *,
        config: NotificationClientConfig,
        surroundings: Surroundings,
        codec: Codec,
        tasks: Tasks,
        statistics: Statistics,
        debug: Callable[..., None] | None,
    ) -> None:
        breaker = config.circuit_breaker
        self.machine = StateMachine(logger)
        self.token_breaker = Breaker(breaker.failure_threshold, breaker.reset_timeout)
        self._breaker = Breaker(breaker.failure_threshold, breaker.reset_timeout)
        self._told = told
        self._config = config
        self._surroundings = surroundings
        self._codec = codec
        self._tasks = tasks
        self._statistics = statistics
        self._debug = debug
        self._timers = Timers()
        self._connection: Connection | None = None
        self._phase: Literal["token", "connecting", "connected"] = "token"
        self._attempt = 0
        self._advice: RetryConfig | None = None
        self._health = 1.0
        self._last_reason: DisconnectReason | None = None
        self._connected_at: tuple[datetime, float] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._is_blocked = False
        self._waiter: asyncio.Future[None] | None = None
        self._circuit: Circuit = "closed"
        if debug is not None:
            self.machine.listen(lambda state: debug("is %s", _told(state)))

    # --- The application's side -----------------------------------------------------------------

    async def connect(self) -> None:
        """Return when authenticated; raises ConnectionError when that fails for good."""
        status = self.machine.state.status
        if status == "connected":
            return
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
            self._waiter.add_done_callback(_retrieve)  # whoever called may have gone
        waiter = self._waiter
        if status == "disconnected":
            self._attempt = 0
        if status != "connecting":
            self._try()
        await asyncio.shield(waiter)

    async def disconnect(self) -> None:
        """End it from the application's side."""
        if self.machine.state.status == "disconnected":
            return
        connection = self._connection
        self._end(ConnectionError("client_initiated", "The client was disconnected."))
        if connection is not None:
            await connection.close()

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame; without a connection it is gone, and whoever sent it is told by `lost`."""
        if self._connection is not None:
            self._connection.send(frame)

    def send_encoded(self, data: str | bytes) -> None:
        """Send what the codec made."""
        if self._connection is not None:
            if self._debug is not None:
                self._debug("sends publish, %d", len(data))
            self._connection.send_encoded(data)

    @property
    def policy(self) -> RetryConfig:
        """How retries are spaced: as configured, or as the server advised last."""
        return self._config.retry_config or self._advice or RetryConfig()

    def delay(self, attempt: int) -> float:
        """Return the milliseconds before a retry, by the policy."""
        return backoff_delay(
            attempt, self.policy, random=self._surroundings.random(), health=self._health
        )

    @property
    def circuit(self) -> Circuit:
        """The worse of the two breakers'."""
        return worse(self._breaker.circuit, self.token_breaker.circuit)

    def uptime(self) -> float:
        """Return the milliseconds of the present connection; 0 without one."""
        if self.machine.state.status != "connected" or self._connected_at is None:
            return 0.0
        return self._surroundings.elapsed() - self._connected_at[1]

    def block(self, is_blocked: bool) -> None:
        """Drop the connection while more waits than may (True); come back when it is less."""
        self._is_blocked = is_blocked
        if is_blocked:
            self.drop()
        elif self.machine.state.status == "reconnecting":
            self._try()

    def drop(self) -> None:
        """Give the connection up, and try again: too much waits."""
        self.fail(overwhelmed())

    def fail(self, down: Down) -> None:
        """End the present connection for a reason of this side."""
        if self._connection is not None:
            self._connection.drop()
            self.down(down)

    def look_at_circuit(self) -> None:
        """Tell when a breaker has changed."""
        if self.circuit != self._circuit:
            self._circuit = self.circuit
            self._told.circuit_changed(self._circuit)

    # --- One attempt ----------------------------------------------------------------------------

    def _try(self) -> None:
        if self._is_blocked and self.machine.state.status == "reconnecting":
            return
        self._timers.cancel(self._retry)
        self._retry = None
        self._phase = "token"
        self._connection = connection = Connection(
            self,
            surroundings=self._surroundings,
            tasks=self._tasks,
            codec=self._codec,
            heartbeat_interval=self._config.heartbeat_interval,
            heartbeat_timeout=self._config.heartbeat_timeout,
            debug=self._debug,
        )
        started_at = self._surroundings.instant()
        self.machine.move("try", Connecting(attempt=self._attempt, started_at=started_at))
        self.token_breaker.attempt()
        self.look_at_circuit()
        connection.start(self._config.url, self._hello)

    def _hello(self) -> Awaitable[dict[str, Any]]:
        return self._told.hello(self._attempt, self._last_reason)

    def opening(self) -> None:
        """Let the breaker count from here to `accepted`."""
        self._phase = "connecting"
        self.token_breaker.succeeded()
        self._breaker.attempt()
        self.look_at_circuit()

    def accepted(self, frame: AuthSuccess, latency: float) -> None:
        """Take the server's acceptance."""
        self._phase = "connected"
        self._breaker.succeeded()
        self._advice, self._health = frame.retry, frame.health
        at = self._surroundings.instant()
        self._connected_at = (at, self._surroundings.elapsed())
        self._statistics.connected(latency, at)
        state = Connected(connected_at=at, server_id=frame.server_id, latency=latency)
        self.machine.move("establish", state)
        self.look_at_circuit()
        self._told.accepted(frame)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None
        if self._is_blocked:
            self.drop()

    def frame(self, frame: ServerFrame) -> None:
        """Hand a frame on."""
        self._told.frame(frame)

    def unreadable(self, detail: str) -> None:
        """Hand it on."""
        self._told.unreadable(detail)

    def unknown(self, kind: str) -> None:
        """Hand it on."""
        self._told.unknown(kind)

    def down(self, down: Down) -> None:
        """Take the end of a connection: another follows, or none."""
        now = self._surroundings.elapsed()
        if self._phase == "token":
            self.token_breaker.failed(now)
        elif self._phase == "connecting" and not down.is_own:
            self._breaker.failed(now)
        if down.health is not None:
            self._health = down.health
        self._last_reason = down.error.reason
        self._count(down)
        is_spent = 0 < self.policy.max_retries < self._attempt
        if not down.retry or is_spent or self._token_is_used_up(down.error):
            self._end(down.error)
        else:
            self._lose(down, now)

    # --- Between two ----------------------------------------------------------------------------

    def _count(self, down: Down) -> None:
        """Count a failure. One that is our own doing is none."""
        if self._phase == "connected" and self.uptime() >= STABLE:
            self._attempt = 0
        failure = Failure(
            at=self._surroundings.instant(),
            reason=down.error.reason,
            message=down.error.message,
            attempt=self._attempt,
            close_code=down.error.close_code,
        )
        self._statistics.failed(failure)
        if not down.is_own:
            self._attempt += 1

    def _lose(self, down: Down, now: float) -> None:
        delay = retry_wait(
            asked=down.retry_after,
            delay=self.delay(max(0, self._attempt - 1)),
            breaker=max(self._breaker.wait(now), self.token_breaker.wait(now)),
        )
        self._connection = None
        self._told.lost()
        self._retry = self._timers.after(delay, self._try)
        self.machine.move(
            "lose",
            Reconnecting(
                attempt=max(1, self._attempt),
                last_error=down.error,
                next_retry_at=self._surroundings.instant(delay),
                backoff_delay=delay,
            ),
        )
        self.look_at_circuit()

    def _token_is_used_up(self, error: ConnectionError) -> bool:
        """The server wants another token, and a configured string is all there is."""
        return error.close_code == CloseCode.TOKEN_EXPIRED and isinstance(self._config.auth, str)

    def _end(self, error: ConnectionError) -> None:
        self._timers.cancel_all()
        self._retry = self._connection = None
        waiter, self._waiter = self._waiter, None
        self._last_reason = error.reason
        last = None if self._connected_at is None else self._connected_at[0]
        self._told.lost()
        self._told.ended(error)
        self.machine.move("end", Disconnected(reason=error.reason, last_connected_at=last))
        self.look_at_circuit()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)


def _retrieve(waiter: asyncio.Future[None]) -> None:
    if not waiter.cancelled():
        waiter.exception()


def _told(state: ConnectionState) -> str:
    """Tell a state for debugging."""
    match state:
        case Reconnecting():
            reason = state.last_error.reason
            return f"reconnecting in {state.backoff_delay:.0f} ms, retry {state.attempt}: {reason}"
        case Disconnected():
            return f"disconnected: {state.reason}"
        case _:
            return state.status
