"""A server process: its hub, its connections, and what it does on a timer.

There is one per event loop. Servers that announce their lifespan start it before the first
request; under those that don't (Daphne), the first connection does.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.utils import timezone

from accounts.principal import Principal
from accounts.revocations import revoked_between
from notifications import metrics
from notifications.conf import conf
from notifications.database import in_background, in_database
from notifications.errors import Unavailable
from notifications.hub import Hub
from notifications.hub.buffer import Flusher
from notifications.hub.hub import LOCAL_POLL_INTERVAL, POLL_INTERVAL
from notifications.log.identity import log_identity
from notifications.log.records import Record
from notifications.protocol.codes import CloseCode
from notifications.services.policies import KEPT_SECONDS, policies
from notifications.services.servers import (
    BEAT_INTERVAL,
    beat,
    clear_dead_servers,
    new_server_id,
    register_server,
    stop_server,
)
from notifications.services.session_changes import SessionChanges
from notifications.services.sessions import SessionChange, ended_lately, taken_lately
from notifications.services.sweeps import SWEEPS, run_sweep
from notifications.services.writer import relay_by_own_loop, relay_through

STOP_TIMEOUT = 5.0
"""Seconds in which a stopping server may write what is still to be written."""

ENDED_INTERVAL = 1.5
"""Seconds between two looks for sessions that were ended, and credentials that were revoked,
elsewhere, whatever the bus said."""

REVOCATION_WINDOW = timedelta(minutes=1)
"""How far back revocations are looked for; older ones keep a client from authenticating at all."""

TAKEN_OVER = "The client connected anew."
"""What the older socket of a client is told."""

SCAN_INTERVAL = 5.0
"""Seconds between two looks for silent connections."""

logger = structlog.get_logger(__name__)


class LiveConnection(Protocol):
    """What the process needs of a connection."""

    handle: uuid.UUID | None
    connects: int
    principal: Principal | None

    def check_deadlines(self, now: float) -> None:
        """Close when the peer has been silent for too long or its token has expired."""

    def disconnect(self, code: int, reason: str) -> None:
        """Close from the server's side."""

    def end_subscription(self, subscription_id: str, *, code: str | None, reason: str) -> None:
        """Stop delivering what only this subscription wants, and say so; nothing if unknown."""

    def revoke(self) -> None:
        """Close because what the connection authenticated with was revoked; end its session."""

    def describe(self) -> SessionChange | None:
        """Return the state of the session as it is now, or None without one."""


class Process:
    """The server side of this event loop."""

    def __init__(self) -> None:
        self.server_id = new_server_id()
        self.connections: set[LiveConnection] = set()
        self.by_handle: dict[uuid.UUID, LiveConnection] = {}
        self.draining = False
        self.hub: Hub
        self._loop = asyncio.get_running_loop()
        self.flusher = Flusher(self._loop)
        self._changes = SessionChanges()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the hub and the timers; raises when the database is away or not migrated."""
        identity = await in_database(log_identity)
        layer = get_channel_layer()
        assert layer is not None, "settings.CHANNEL_LAYERS needs a default layer"
        self.hub = Hub(
            layer,
            identity,
            on_control=self._on_control,
            poll_interval=(
                LOCAL_POLL_INTERVAL if isinstance(layer, InMemoryChannelLayer) else POLL_INTERVAL
            ),
            replay_cache_bytes=conf().replay_cache_bytes,
        )
        await in_database(policies.refresh)
        await in_database(register_server, self.server_id, now=timezone.now())
        await self.hub.start()
        relay_through(self._relay)
        self._changes.start()
        self._tasks = [
            self._every(BEAT_INTERVAL, self._beat, name="beat"),
            self._every(KEPT_SECONDS, self._refresh_policies, name="policies"),
            self._every(SCAN_INTERVAL, self._scan, name="heartbeats"),
            self._every(ENDED_INTERVAL, self._close_ended, name="ended-sessions"),
            self._every(ENDED_INTERVAL, self._close_revoked, name="revocations"),
        ]
        if conf().embedded_sweeps:
            self._tasks.append(self._every(conf().sweep_interval, self._sweep, name="sweeps"))
        logger.info("server started", server=self.server_id, epoch=identity.epoch)

    async def stop(self) -> None:
        """Stop the timers and the hub, and write what is still to be written."""
        self.draining = True
        relay_by_own_loop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.hub.stop()
        await self._changes.finish(within=STOP_TIMEOUT)
        try:
            await in_database(stop_server, self.server_id, now=timezone.now())
        except Unavailable:
            logger.warning("stopped without telling the database; other servers will notice")

    # --- Connections --------------------------------------------------------------------------

    def note(self, change: SessionChange) -> None:
        """Have a session's new state written soon."""
        self._changes.note(change)

    async def take_over(
        self, handle: uuid.UUID, *, connects: int, here: LiveConnection | None
    ) -> None:
        """Close the socket that a newer one of the same client replaced, wherever it is.

        connects: the newer socket's number, where it resumed the same session. here: an older
        socket, where it is known to be on this server.
        """
        older = here or self.by_handle.get(handle)
        if older is not None and older.connects < connects:
            older.disconnect(CloseCode.TAKEN_OVER, TAKEN_OVER)
            if older.connects == connects - 1:
                return  # the newest before; otherwise that one is elsewhere
        await self.hub.bus.send_control(
            {
                "close": str(handle),
                "code": int(CloseCode.TAKEN_OVER),
                "reason": TAKEN_OVER,
                "before": connects,
            }
        )

    def _on_control(self, message: dict[str, Any]) -> None:
        for subscription_id in message.get("dropped", ()):
            for connection in list(self.connections):
                connection.end_subscription(
                    subscription_id, code=None, reason="The subscription was ended by an operator."
                )
        if "close" not in message:
            return
        older = self.by_handle.get(uuid.UUID(message["close"]))
        if older is not None and older.connects < message.get("before", older.connects + 1):
            older.disconnect(int(message["code"]), str(message["reason"]))

    # --- Relay --------------------------------------------------------------------------------

    def _relay(self, records: Sequence[Record]) -> None:
        # Called in the writer's thread.
        try:
            self._loop.call_soon_threadsafe(self.hub.relay, records)
        except RuntimeError:
            metrics.hints_dropped.inc()  # the loop has just closed; servers read the log instead

    # --- Timers -------------------------------------------------------------------------------

    def _every(
        self, seconds: float, work: Callable[[], Awaitable[None]], *, name: str
    ) -> asyncio.Task[None]:
        async def run() -> None:
            while True:
                try:
                    await work()
                except Unavailable as error:
                    logger.warning("timer skipped", timer=name, error=error.message)
                except Exception:
                    logger.exception("timer failed", timer=name)
                await asyncio.sleep(seconds)

        return asyncio.create_task(run(), name=name)

    async def _beat(self) -> None:
        believed = await in_database(beat, self.server_id, now=timezone.now())
        if not believed or self._changes.lost:
            self._changes.lost = False
            logger.warning("writing the states of all live sessions anew", believed=believed)
            for connection in self.connections:
                if (change := connection.describe()) is not None:
                    self.note(change)
        await in_database(clear_dead_servers, now=timezone.now())

    async def _close_ended(self) -> None:
        if not self.by_handle:
            return
        ended = await in_database(ended_lately, self.server_id, now=timezone.now())
        for handle, reason in ended.items():
            connection = self.by_handle.get(handle)
            if connection is None:
                continue
            if reason == "taken_over":
                connection.disconnect(CloseCode.TAKEN_OVER, TAKEN_OVER)
            else:
                connection.disconnect(CloseCode.DISCONNECTED, "An operator ended the session.")
        taken = await in_database(taken_lately, self.server_id, now=timezone.now())
        for handle, connects in taken.items():
            connection = self.by_handle.get(handle)
            if connection is not None and connection.connects < connects:
                connection.disconnect(CloseCode.TAKEN_OVER, TAKEN_OVER)

    async def _close_revoked(self) -> None:
        if not self.by_handle:
            return
        # The window overlaps the last look many times over: clocks of hosts differ.
        now = timezone.now()
        revoked = await in_database(revoked_between, now - REVOCATION_WINDOW, now)
        for connection in list(self.by_handle.values()):
            principal = connection.principal
            if principal is not None and (
                principal.family in revoked.families or principal.id in revoked.principals
            ):
                connection.revoke()

    async def _refresh_policies(self) -> None:
        await in_database(policies.refresh)

    async def _scan(self) -> None:
        now = self._loop.time()
        for connection in list(self.connections):
            try:
                connection.check_deadlines(now)
            except Exception:
                logger.exception("a connection's deadlines could not be checked")

    async def _sweep(self) -> None:
        for name in SWEEPS:
            await in_background(run_sweep, name, now=timezone.now())


_processes: dict[asyncio.AbstractEventLoop, asyncio.Task[Process]] = {}


async def this_process() -> Process:
    """Return the process of the running event loop, started.

    Raises Unavailable (or what `start` met) when it cannot be started; the next call tries again.
    """
    loop = asyncio.get_running_loop()
    task = _processes.get(loop)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        task = _processes[loop] = loop.create_task(_start())
    return await asyncio.shield(task)


def running_process() -> Process | None:
    """Return the process of the running event loop if it has started; never starts it."""
    task = _processes.get(asyncio.get_running_loop())
    if task is None or not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


async def stop_process() -> None:
    """Stop the process of the running event loop, if there is one."""
    task = _processes.pop(asyncio.get_running_loop(), None)
    if task is not None and task.done() and task.exception() is None:
        await task.result().stop()


async def _start() -> Process:
    process = Process()
    await process.start()
    return process
