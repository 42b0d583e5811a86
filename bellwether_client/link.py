"""Connections over time: one at once, the next after a wait, until one side ends it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from copy import copy
from datetime import datetime
from typing import Any, Literal, Protocol

from bellwether_client.breaker import Circuit
from bellwether_client.codec import Codec
from bellwether_client.codes import CloseCode, DisconnectReason
from bellwether_client.config import NotificationClientConfig
from bellwether_client.connection import Connection
from bellwether_client.down import Down, overwhelmed
from bellwether_client.errors import ConnectionError
from bellwether_client.frames import AuthSuccess, ServerFrame
from bellwether_client.retry import RetryController
from bellwether_client.states import (
    Connected,
    Connecting,
    ConnectionState,
    Disconnected,
    Reconnecting,
    StateMachine,
)
from bellwether_client.statistics import Statistics
from bellwether_client.surroundings import Surroundings
from bellwether_client.tasks import Tasks, Timers

logger = logging.getLogger("bellwether_client")


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
    """Keeps a client connected."""

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
        self.machine = StateMachine(logger)
        self.retries = RetryController(
            config.retry_config,
            config.circuit_breaker,
            surroundings=surroundings,
            changed=told.circuit_changed,
        )
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
        self._last_reason: DisconnectReason | None = None
        self._connected_at: tuple[datetime, float] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._is_blocked = False
        self._ended_with: ConnectionError | None = None
        self._waiter: asyncio.Future[None] | None = None
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
            self.retries.attempt = 0
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
    def end(self) -> ConnectionError | None:
        """With what it ended for good, not by `disconnect`; None where a connection may follow."""
        error, is_over = self._ended_with, self.machine.state.status == "disconnected"
        if error is None or error.reason == "client_initiated" or not is_over:
            return None
        return copy(error)  # as each that is raised gets a traceback

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
        self.machine.move("try", Connecting(attempt=self.retries.attempt, started_at=started_at))
        self.retries.tokens.attempt()
        self.retries.look()
        connection.start(self._config.url, self._hello)

    def _hello(self) -> Awaitable[dict[str, Any]]:
        return self._told.hello(self.retries.attempt, self._last_reason)

    def opening(self) -> None:
        """Let the breaker count from here to `accepted`."""
        self._phase = "connecting"
        self.retries.tokens.succeeded()
        self.retries.connects.attempt()
        self.retries.look()

    def accepted(self, frame: AuthSuccess, latency: float) -> None:
        """Take the server's acceptance."""
        self._phase = "connected"
        self.retries.connects.succeeded()
        self.retries.push(frame.retry, frame.health)
        at = self._surroundings.instant()
        self._connected_at = (at, self._surroundings.elapsed())
        self._statistics.connected(latency, at)
        state = Connected(connected_at=at, server_id=frame.server_id, latency=latency)
        self.machine.move("establish", state)
        self.retries.look()
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
        if self._phase == "token":
            self.retries.tokens.failed(self._surroundings.elapsed())
        elif self._phase == "connecting" and not down.is_own:
            self.retries.connects.failed(self._surroundings.elapsed())
        if down.health is not None:
            self.retries.health = down.health
        self._last_reason = down.error.reason
        lived = self.uptime() if self._phase == "connected" else 0.0
        delay = self.retries.failed(down, lived=lived)
        if not down.retry or delay is None or self._token_is_used_up(down.error):
            self._end(down.error)
        else:
            self._lose(down.error, delay)

    # --- Between two ----------------------------------------------------------------------------

    def _lose(self, error: ConnectionError, delay: float) -> None:
        self._connection = None
        self._told.lost()
        self._retry = self._timers.after(delay, self._try)
        self.machine.move(
            "lose",
            Reconnecting(
                attempt=max(1, self.retries.attempt),
                last_error=error,
                next_retry_at=self._surroundings.instant(delay),
                backoff_delay=delay,
            ),
        )
        self.retries.look()

    def _token_is_used_up(self, error: ConnectionError) -> bool:
        """The server wants another token, and a configured string is all there is."""
        return error.close_code == CloseCode.TOKEN_EXPIRED and isinstance(self._config.auth, str)

    def _end(self, error: ConnectionError) -> None:
        self._timers.cancel_all()
        self._retry = self._connection = None
        waiter, self._waiter = self._waiter, None
        self._last_reason, self._ended_with = error.reason, error
        last = None if self._connected_at is None else self._connected_at[0]
        self._told.lost()
        self._told.ended(error)
        self.machine.move("end", Disconnected(reason=error.reason, last_connected_at=last))
        self.retries.look()
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
