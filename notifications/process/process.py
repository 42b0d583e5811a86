"""A server process: its hub, its connections, and what it does on a timer.

There is one per event loop. Servers that announce their lifespan start it before the first
request; under those that don't (Daphne), the first connection does.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import structlog
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.utils import timezone

from notifications import metrics
from notifications.conf import conf, retry_policies
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub import Hub
from notifications.hub.flusher import Flusher
from notifications.hub.follower import LOCAL_POLL_INTERVAL, POLL_INTERVAL
from notifications.log.creation import read_identity
from notifications.log.identity import log_identity
from notifications.log.records import Record
from notifications.process import sweeping
from notifications.process.endings import ENDED_INTERVAL, Endings, take_over_message
from notifications.process.gate import Gate
from notifications.process.live import LiveConnection
from notifications.process.redelivering import REDELIVERY_INTERVAL, Redeliveries
from notifications.process.rounds import Rounds
from notifications.resilience.health import Signs, health_of
from notifications.services.acknowledgements import Acknowledgements
from notifications.services.policies import KEPT_SECONDS, policies
from notifications.services.renewing import Renewals
from notifications.services.retention import measure_lag
from notifications.services.servers import (
    BEAT_INTERVAL,
    beat,
    clear_dead_servers,
    leave_strays,
    new_server_id,
    open_on,
    register_server,
    stop_server,
    superseded,
)
from notifications.services.session_changes import SessionChanges
from notifications.services.sessions import SessionChange
from notifications.services.subscriptions import SubscriptionChanges
from notifications.services.welcoming import Openings
from notifications.services.writer import relay_by_own_loop, relay_through, writer
from notifications.stopping import stop_tasks

STOP_TIMEOUT = 5.0
"""Seconds in which a stopping server may write what is still to be written."""

DELIVERIES_PAUSE = 5.0
"""Seconds between two rounds of acknowledged delivery, unless the sweeps are more often."""

STRAYS_INTERVAL = 30.0
"""Seconds between two looks for sessions that are open on this server according to the database
only (their opening failed after its commit), or according to this server only (they were taken on
elsewhere, and that was not heard of). Longer than any opening takes."""

logger = structlog.get_logger(__name__)


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
        self.gate = Gate(now=self._loop.time())
        self._changes = SessionChanges()
        self.openings = Openings(self.server_id, note=self.note)
        self.renewals = Renewals()
        self.subscriptions = SubscriptionChanges()
        self.acknowledgements = Acknowledgements()
        self._endings = Endings(self.server_id, self.connections, self.by_handle)
        self._rounds = Rounds(self._loop, heartbeat=conf().heartbeat_interval)
        self._redeliveries: Redeliveries | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the hub and the timers; raises when the database is away or not migrated.

        A start that fails leaves nothing behind.
        """
        retry_policies()  # a setting that cannot be read stops the start, and no client's `auth`
        await in_database(log_identity)  # publishing asks for it in the event loop
        identity = await in_database(read_identity)  # its epoch may be newer than what is kept
        layer = get_channel_layer()
        assert layer is not None, "settings.CHANNEL_LAYERS needs a default layer"
        self.hub = Hub(
            layer,
            identity,
            on_control=self._endings.hear,
            poll_interval=(
                LOCAL_POLL_INTERVAL if isinstance(layer, InMemoryChannelLayer) else POLL_INTERVAL
            ),
            replay_cache_bytes=conf().replay_cache_bytes,
            handling_of=policies.handling_of,
        )
        await in_database(policies.refresh)
        self._redeliveries = redeliveries = Redeliveries(self.hub, self.by_handle)
        await redeliveries.start()
        try:
            await self.hub.start()
            await in_database(register_server, self.server_id, now=timezone.now())
        except BaseException:
            await self.hub.stop()  # the next attempt has a hub of its own
            raise
        # From here on nothing fails.
        relay_through(self._relay, is_behind=lambda: self.hub.bus.is_behind)
        self._rounds.start()
        self._changes.start()
        self.acknowledgements.start()
        self._tasks = [
            self._every(BEAT_INTERVAL, self._beat, name="beat"),
            self._every(STRAYS_INTERVAL, self._leave_strays, name="strays"),
            self._every(KEPT_SECONDS, self._refresh_policies, name="policies"),
            self._every(ENDED_INTERVAL, self._endings.close_ended, name="ended-sessions"),
            self._every(ENDED_INTERVAL, self._endings.close_revoked, name="revocations"),
            self._every(REDELIVERY_INTERVAL, redeliveries.look, name="redeliveries"),
        ]
        pause = conf().sweep_interval
        self._tasks.append(self._every(pause, self._measure_retention, name="retention-lag"))
        if conf().embedded_sweeps:
            self._tasks += [
                self._every(pause, sweeping.sweep, name="sweeps"),
                self._every(pause, sweeping.purge, name="purges"),
                self._every(
                    min(pause, DELIVERIES_PAUSE), sweeping.sweep_deliveries, name="retries"
                ),
            ]
        metrics.health.set_function(self.health)
        metrics.loop_lag.set_function(lambda: self._rounds.lag)
        metrics.tasks.set_function(lambda: len(asyncio.all_tasks(self._loop)))
        logger.info("server started", server=self.server_id, epoch=identity.epoch)

    async def stop(self) -> None:
        """Stop the timers and the hub, and write what is still to be written."""
        self.draining = True
        relay_by_own_loop()
        await stop_tasks(self._tasks)
        if self._redeliveries is not None:
            await self._redeliveries.stop()
        self._rounds.stop()
        await self.openings.stop()
        await self.renewals.stop()
        await self.subscriptions.stop()
        await self.hub.stop()
        await self._changes.finish(within=STOP_TIMEOUT)
        await self.acknowledgements.finish(within=STOP_TIMEOUT)
        try:
            await in_database(stop_server, self.server_id, now=timezone.now())
        except Unavailable:
            logger.warning("stopped without telling the database; other servers will notice")

    def health(self) -> float:
        """Return how well this server is, above 0 and at most 1."""
        return health_of(
            Signs(
                connections=self.gate.fullness,
                queue=writer().queue.fullness,
                lag=self._rounds.lag,
                bus_is_behind=self.hub.bus.is_behind,
                log_is_away=not self.hub.log_reachable,
            )
        )

    # --- Connections --------------------------------------------------------------------------

    def admit(self, connection: LiveConnection) -> None:
        """Take in a connection that was accepted."""
        self.connections.add(connection)
        self._rounds.add(connection)
        metrics.connections_accepted.inc()

    def dismiss(self, connection: LiveConnection) -> None:
        """Forget a connection that is gone."""
        self.connections.discard(connection)
        self._rounds.remove(connection)

    def note(self, change: SessionChange) -> None:
        """Have a session's new state written soon."""
        self._changes.note(change)

    async def take_over(
        self, handle: uuid.UUID, *, connects: int, here: LiveConnection | None
    ) -> None:
        """Close the socket that a newer one of the same client replaced, wherever it is.

        connects: the newer socket's number. here: an older socket, where it is known to be on
        this server.
        """
        self._endings.take_over(here or self.by_handle.get(handle), connects)
        # In any case: a takeover before this one may not have been heard of elsewhere.
        await self.hub.bus.send_control(take_over_message(handle, connects))

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

    async def _leave_strays(self) -> None:
        now = timezone.now()
        sockets = {handle: one.connects for handle, one in self.by_handle.items()}
        found = await in_database(open_on, self.server_id)
        await self._close_superseded(
            {
                handle: connects
                for handle, connects in sockets.items()
                if handle not in found or found[handle][0] != connects
            }
        )
        before = now - timedelta(seconds=STRAYS_INTERVAL)
        here = {(connection.handle, connection.connects) for connection in self.connections}
        strays = {
            handle: connects
            for handle, (connects, since) in found.items()
            if since < before and (handle, connects) not in here
        }
        if strays:
            count = await in_database(leave_strays, self.server_id, strays, now=now)
            logger.warning("sessions were open that nobody has", count=count)

    async def _close_superseded(self, sockets: Mapping[uuid.UUID, int]) -> None:
        """Close those sockets that their sessions have no use for any more.

        sockets: those that the database has not as open here. Usually their states are only about
        to be written. But a session that was taken on twice, while neither the bus nor the other
        timer said so, remembers the last of its former servers alone.
        """
        if not sockets:
            return
        for handle, (connects, reason) in (await in_database(superseded, sockets)).items():
            self._endings.close(handle, connects, reason)

    async def _refresh_policies(self) -> None:
        await in_database(policies.refresh)

    async def _measure_retention(self) -> None:
        await in_database(measure_lag, now=timezone.now())
