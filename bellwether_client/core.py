"""The parts of a client, put together: what each tells the others."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from bellwether_client.acknowledger import Acknowledger
from bellwether_client.backlog import Backlog
from bellwether_client.breaker import Circuit
from bellwether_client.codec import Codec
from bellwether_client.codes import DisconnectReason
from bellwether_client.config import NotificationClientConfig
from bellwether_client.cursor import Cursor
from bellwether_client.dispatch import Dispatcher
from bellwether_client.entry import Entry
from bellwether_client.errors import ConnectionError, NotificationError
from bellwether_client.events import (
    CircuitChanged,
    ConnectionEnded,
    Events,
    Gap,
    HandlerError,
    Orphan,
    ServerError,
    StorageFailed,
    SubscriptionEnded,
    UnreadableFrame,
)
from bellwether_client.frames import AuthSuccess, ReplayComplete, ServerFrame
from bellwether_client.inbox import Inbox
from bellwether_client.keeper import StateKeeper
from bellwether_client.link import Link
from bellwether_client.outbox import Outbox
from bellwether_client.progress import Progress
from bellwether_client.replays import Replay, Replays
from bellwether_client.requests import Requests
from bellwether_client.sendable import Sendable
from bellwether_client.session import Session
from bellwether_client.statistics import ConnectionStats, Statistics
from bellwether_client.subscription import LocalSubscription, Message
from bellwether_client.subscriptions import Subscriptions
from bellwether_client.surroundings import Surroundings
from bellwether_client.tasks import Tasks, Timers
from bellwether_client.tokens import Tokens

logger = logging.getLogger("bellwether_client")


class Core:
    """on_end: told when the connection ended, not by `disconnect`, and nothing is retried."""

    def __init__(
        self, config: NotificationClientConfig, surroundings: Surroundings, codec: Codec
    ) -> None:
        self.on_end: Callable[[Exception], None] = lambda error: None
        self.surroundings = surroundings
        self._config = config
        self._was_closed = False
        self.tasks = Tasks(logger)
        self.timers = Timers()
        self.events = Events(logger)
        self.statistics = Statistics()
        self.backlog = Backlog(self._backlog_changed)
        self.progress = Progress(self._cursor_moved)
        self.requests = Requests()
        self.sendable = Sendable(codec)
        self.link = Link(
            self,
            config=config,
            surroundings=surroundings,
            codec=codec,
            tasks=self.tasks,
            statistics=self.statistics,
            debug=logger.debug if config.debug else None,
        )
        send, timers, requests = self.link.send, self.timers, self.requests
        self.subscriptions = Subscriptions(
            requests=requests,
            send=send,
            sendable=self.sendable,
            timers=timers,
            here=lambda: (self.progress.cursor(), self.progress.seen()),
            told=self,
        )
        self.replays = self.subscriptions.replays = Replays(
            requests=requests,
            send=send,
            timers=timers,
            base=lambda: self.inbox.base,
            subscribe=self.subscriptions.subscribe_for,
            done=self._replay_done,
        )
        self.inbox = Inbox(
            events=self.events,
            progress=self.progress,
            replays=self.replays,
            requests=requests,
            statistics=self.statistics,
            subscriptions=self.subscriptions,
            overwhelmed=self.link.drop,
        )
        self.outbox = Outbox(
            config.queue_config,
            sendable=self.sendable,
            requests=requests,
            send=self.link.send_encoded,
            timers=timers,
            elapsed=surroundings.elapsed,
            new_id=surroundings.new_id,
        )
        self.tokens = Tokens(
            config.auth,
            link=self.link,
            surroundings=surroundings,
            tasks=self.tasks,
            timers=timers,
            requests=requests,
            send=send,
            refused=lambda error: self.events.emit(ServerError(error=error)),
        )
        self.dispatcher = Dispatcher(
            events=self.events,
            inbox=self.inbox,
            requests=requests,
            subscriptions=self.subscriptions,
            tokens=self.tokens,
            measured=self._measured,
            elapsed=surroundings.elapsed,
        )
        self.session = Session(
            config,
            surroundings=surroundings,
            progress=self.progress,
            subscriptions=self.subscriptions,
            tokens=self.tokens,
        )
        self.keeper = StateKeeper(
            config.storage,
            key=f"bellwether.{config.client_id or config.url}",
            tasks=self.tasks,
            timers=timers,
            state=self.session.state,
            failed=lambda error: self.events.emit(StorageFailed(error=error)),
        )
        self.acknowledger = Acknowledger(
            tell=self._acknowledge, timers=timers, cursor=self.progress.cursor
        )

    # --- What the client asks -------------------------------------------------------------------

    def finish(self) -> None:
        """Tell the server the last place, before the connection is closed."""
        self.acknowledger.finish()

    async def close(self, deadline: float) -> None:
        """Wait for what runs, so many seconds, and keep the last state."""
        self._was_closed = True
        for entry in self.subscriptions.all():
            entry.forget()
        try:
            await self.tasks.end(deadline)
        finally:
            self.timers.cancel_all()
            self.outbox.watch()  # for publishes that came after the end
        await self.keeper.finish()

    def stats(self) -> ConnectionStats:
        """Return figures."""
        kept = sum(entry.waiting for entry in self.subscriptions.all())
        return self.statistics.read(
            sent=self.outbox.published,
            waiting=self.backlog.count + kept + self.inbox.parked,
            uptime=self.link.uptime(),
            failures=self.link.retries.failures,
            circuit=self.link.retries.circuit,
        )

    # --- What subscriptions share, and tell -----------------------------------------------------

    @property
    def end(self) -> Exception | None:
        """With what the connection ended for good; None where one is, or may come."""
        return self.link.end

    def now(self) -> float:
        """Milliseconds since the Unix epoch."""
        return self.surroundings.now()

    def leave(self, subscription_id: str) -> None:
        """End a subscription."""
        self.subscriptions.remove(subscription_id)

    def handler_failed(self, error: Exception, message: Message) -> None:
        """Tell of a handler or filter that failed."""
        self.events.emit(HandlerError(error=error, message=message))

    def give_up(self, replay: Replay) -> None:
        """Wait for a replay no longer."""
        self.replays.give_up(replay)

    def subscription_ended(self, local: LocalSubscription, error: NotificationError) -> None:
        """Tell of a subscription that the server refused or ended."""
        self.events.emit(SubscriptionEnded(subscription=local, error=error))

    def orphan_found(self, entry: Entry) -> None:
        """Tell of a subscription that has no handler."""
        end = partial(self.subscriptions.drop, entry)
        self.events.emit(Orphan(topic=entry.topic, created_at=entry.created_at, unsubscribe=end))

    def replay_lost(self, entry: Entry) -> None:
        """Tell of a replay that was cut off, and cannot be had again."""
        self.events.emit(Gap(reason="CONNECTION_LOST", topic=entry.topic))

    def subscriptions_changed(self) -> None:
        """Keep the state."""
        self.keeper.changed()

    def restored(self) -> None:
        """Go on where the subscriptions are restored."""
        if self.session.asked_to_resume:
            self.subscriptions.verify()
        self.outbox.resume()

    def _acknowledge(self, cursor: Cursor) -> None:
        self.inbox.base = cursor
        self.link.send({"type": "ack", "cursor": cursor.to_wire()})

    def _measured(self, latency: float) -> None:
        self.statistics.measured(latency, self.surroundings.instant())
        self.link.machine.measure(latency)

    def _cursor_moved(self) -> None:
        self.keeper.moved()

    def _replay_done(self, replay: Replay, end: ReplayComplete | NotificationError) -> None:
        self.inbox.replay_done(replay, end)

    def _backlog_changed(self, is_full: bool) -> None:
        if is_full:
            for local in self.subscriptions.locals():
                local.tell_whether_slow()
        self.link.block(is_full)

    # --- What the link asks and tells -----------------------------------------------------------

    async def hello(self, attempt: int, last_reason: DisconnectReason | None) -> dict[str, Any]:
        """Make the first frame of a connection."""
        if self._was_closed:
            # Not at the end, as a handler that called `disconnect` finishes after it.
            self._was_closed = False
            self.progress.abandon()
            self.subscriptions.abandon()
        return await self.session.hello(self.keeper, attempt, last_reason)

    def accepted(self, frame: AuthSuccess) -> None:
        """Begin on a connection."""
        had_session = self.session.asked_to_resume
        self.session.accepted(frame.session_id)
        self.sendable.limit(frame.frame_bytes)
        self.inbox.accepted(frame, had_session=had_session)
        if self._config.acknowledge:
            self.acknowledger.start(None if had_session and frame.resumed else frame.cursor)
        self.tokens.accepted(frame.expires_in)
        self.keeper.changed()

    def frame(self, frame: ServerFrame) -> None:
        """Take a frame."""
        self.dispatcher.take(frame)

    def unreadable(self, detail: str) -> None:
        """Tell of a frame that was left out."""
        self.events.emit(UnreadableFrame(detail=detail))

    def unknown(self, kind: str) -> None:
        """Pass over a frame of a later version."""
        self._debug("ignores a frame of type %s", kind)

    def lost(self) -> None:
        """Note that the connection is gone."""
        self.acknowledger.stop()
        self.tokens.lost()
        self.outbox.suspend()
        self.inbox.lost()
        self.subscriptions.suspend()
        self.requests.lose()

    def ended(self, error: ConnectionError) -> None:
        """Note that no other will follow."""
        self.outbox.abandon(error)
        self.replays.abandon(error)
        for local in self.subscriptions.locals():
            local.connection_ended(error)
        if error.reason != "client_initiated":
            self.on_end(error)
            self.events.emit(ConnectionEnded(error=error))

    def circuit_changed(self, circuit: Circuit) -> None:
        """Tell of a breaker that changed."""
        self._debug("circuit %s", circuit)
        self.events.emit(CircuitChanged(circuit=circuit))

    def _debug(self, text: str, *details: object) -> None:
        if self._config.debug:
            logger.debug(text, *details)
