"""The parts of a client, put together: what each tells the others."""

import logging
from collections.abc import Callable
from typing import Any

from bellwether_client.acknowledger import Acknowledger
from bellwether_client.breaker import Circuit
from bellwether_client.codec import Codec
from bellwether_client.codes import DisconnectReason
from bellwether_client.config import NotificationClientConfig
from bellwether_client.cursor import Cursor, CursorTrack
from bellwether_client.entry import Entry
from bellwether_client.errors import ConnectionError, NotificationError
from bellwether_client.events import (
    CircuitChanged,
    ConnectionEnded,
    Events,
    HandlerError,
    Orphan,
    ServerError,
    StorageFailed,
    SubscriptionEnded,
    UnreadableFrame,
)
from bellwether_client.frames import (
    AuthSuccess,
    Disconnect,
    ErrorFrame,
    GapFrame,
    Pong,
    ReplayComplete,
    ServerFrame,
    TokenExpiring,
    Unsubscribed,
)
from bellwether_client.inbox import Inbox
from bellwether_client.keeper import StateKeeper, StoredState, StoredSubscription
from bellwether_client.link import Link
from bellwether_client.messages import NotificationMessage
from bellwether_client.outbox import Outbox
from bellwether_client.progress import Progress
from bellwether_client.replays import Replay, Replays
from bellwether_client.requests import Requests
from bellwether_client.statistics import ConnectionStats, Statistics
from bellwether_client.subscription import Backlog, LocalSubscription, Message
from bellwether_client.subscriptions import Subscriptions
from bellwether_client.surroundings import Surroundings
from bellwether_client.tasks import Tasks, Timers
from bellwether_client.tokens import Tokens
from bellwether_client.version import VERSION

logger = logging.getLogger("bellwether_client")


class Core:
    """on_end: told when the connection ended, not by `disconnect`, and nothing is retried."""

    def __init__(
        self, config: NotificationClientConfig, surroundings: Surroundings, codec: Codec
    ) -> None:
        self.on_end: Callable[[Exception], None] = lambda error: None
        self.surroundings = surroundings
        self._config = config
        self._client_id: str | None = None
        self._session_id: str | None = None
        self._asked_to_resume = False
        self._frame_bytes: int | None = None
        self.tasks = Tasks(logger)
        self.timers = Timers()
        self.events = Events(logger)
        self.statistics = Statistics()
        self.backlog = Backlog(self._backlog_changed)
        self.progress = Progress(self._cursor_moved)
        self.requests = Requests()
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
            requests=requests, send=send, timers=timers, here=self._here, told=self
        )
        self.replays = self.subscriptions.replays = Replays(
            requests=requests,
            send=send,
            timers=timers,
            epoch=lambda: self.progress.epoch,
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
        )
        self.outbox = Outbox(
            config.queue_config,
            codec=codec,
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
        self.keeper = StateKeeper(
            config.storage,
            tasks=self.tasks,
            timers=timers,
            state=self._state,
            failed=lambda error: self.events.emit(StorageFailed(error=error)),
        )
        self.acknowledger = Acknowledger(send=send, timers=timers, cursor=self.progress.cursor)

    # --- What the client asks -------------------------------------------------------------------

    def finish(self) -> None:
        """Tell the server the last place, before the connection is closed."""
        self.acknowledger.finish()

    async def close(self, deadline: float) -> None:
        """Wait for what runs, so many seconds, and keep the last state."""
        try:
            await self.tasks.end(deadline)
        finally:
            self.progress.abandon()
            for entry in self.subscriptions.all():
                entry.let_go()
            for local in self.subscriptions.locals():
                local.let_go()
            self.timers.cancel_all()
        await self.keeper.finish()

    def stats(self) -> ConnectionStats:
        """Return figures."""
        return self.statistics.read(
            sent=self.outbox.published,
            waiting=self.backlog.count + self.subscriptions.waiting + self.inbox.parked,
            uptime=self.link.uptime(),
            circuit=self.link.circuit,
        )

    # --- What subscriptions share, and tell -----------------------------------------------------

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

        def unsubscribe() -> None:
            self.subscriptions.drop(entry)

        self.events.emit(
            Orphan(topic=entry.topic, created_at=entry.created_at, unsubscribe=unsubscribe)
        )

    def subscriptions_changed(self) -> None:
        """Keep the state."""
        self.keeper.changed()

    def restored(self) -> None:
        """Go on where the subscriptions are restored."""
        if self._asked_to_resume:
            self.subscriptions.verify()
        self.outbox.resume(self._frame_bytes)

    def _replay_done(self, replay: Replay, end: ReplayComplete | NotificationError) -> None:
        self.inbox.replay_done(replay, end)

    def _here(self) -> tuple[Cursor | None, CursorTrack]:
        return self.progress.cursor(), self.progress.seen()

    def _cursor_moved(self) -> None:
        self.keeper.moved()

    def _backlog_changed(self, is_full: bool) -> None:
        if is_full:
            text = "More messages wait for handlers than may: it goes on when half are handled."
            self.link.pause(text)
        else:
            self.link.go_on()

    # --- What the link asks and tells -----------------------------------------------------------

    async def hello(self, attempt: int, last_reason: DisconnectReason | None) -> dict[str, Any]:
        """Make the first frame of a connection."""
        if self._client_id is None:
            await self._recall()
        token = await self.tokens.get()
        config, cursor = self._config, self.progress.cursor()
        frame: dict[str, Any] = {
            "type": "auth",
            "token": token,
            "clientId": self._client_id,
            "capabilities": ["batch"],
            "client": {"name": "bellwether_client", "version": VERSION, "kind": config.kind},
        }
        self._asked_to_resume = self._session_id is not None and cursor is not None
        if self._session_id is not None and cursor is not None:
            frame["resume"] = {"sessionId": self._session_id, "cursor": cursor.to_wire()}
        if attempt > 0:
            frame["attempt"] = attempt
        if last_reason is not None:
            frame["lastDisconnectReason"] = last_reason
        if config.batch is not None:
            frame["batch"] = config.batch.to_wire()
        return frame

    async def _recall(self) -> None:
        """Take up what an earlier run of this client left."""
        stored = await self.keeper.load()
        wanted = self._config.client_id
        if stored is None or (wanted is not None and stored.client_id != wanted):
            self._client_id = wanted or f"python-{self.surroundings.new_id()}"
            return
        self._client_id = stored.client_id
        self._session_id = stored.session_id
        if stored.cursor is not None:
            self.progress.reset(stored.cursor)
        for one in stored.subscriptions:
            self.subscriptions.recall(one.topic, one.options, one.created_at)

    def accepted(self, frame: AuthSuccess) -> None:
        """Begin on a connection."""
        self._session_id = frame.session_id
        self._frame_bytes = frame.frame_bytes
        resumed = self._asked_to_resume and frame.resumed
        self.acknowledger_start(None if resumed else frame.cursor)
        self.tokens.accepted(frame.expires_in)
        self.inbox.accepted(frame, had_session=self._asked_to_resume)
        self.keeper.changed()

    def acknowledger_start(self, known: Cursor | None) -> None:
        """Begin to acknowledge, where that is wanted."""
        if self._config.acknowledge:
            self.acknowledger.start(known)

    def frame(self, frame: ServerFrame) -> None:
        """Take a frame."""
        match frame:
            case NotificationMessage():
                self.inbox.message(frame)
            case Pong():
                if frame.t is not None:
                    self._measure(self.surroundings.elapsed() - frame.t)
                self.inbox.pong(frame)
            case GapFrame():
                self.inbox.gap(frame)
            case ReplayComplete():
                self.inbox.replay_complete(frame)
            case TokenExpiring():
                self.tokens.refresh()
            case Unsubscribed():
                if not self.requests.answer(frame.id, frame):
                    text = frame.reason or "The server ended this subscription."
                    error = NotificationError(frame.code or "FORBIDDEN", text)
                    self.subscriptions.ended_by_server(frame.subscription_id, error)
            case ErrorFrame():
                if not self.requests.answer(frame.id, frame):
                    self.events.emit(ServerError(error=frame.error))
            case AuthSuccess() | Disconnect():
                pass  # the connection took them
            case _:
                self.requests.answer(frame.id, frame)

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
        self.requests.lose()
        self.subscriptions.suspend()

    def ended(self, error: ConnectionError) -> None:
        """Note that no other will follow."""
        self.outbox.abandon(error)
        self.replays.abandon(error)
        if error.reason != "client_initiated":
            self.on_end(error)
            self.events.emit(ConnectionEnded(error=error))

    def circuit_changed(self, circuit: Circuit) -> None:
        """Tell of a breaker that changed."""
        self._debug("circuit %s", circuit)
        self.events.emit(CircuitChanged(circuit=circuit))

    def _measure(self, latency: float) -> None:
        self.statistics.measured(latency, self.surroundings.instant())
        self.link.machine.measure(latency)

    def _state(self) -> StoredState | None:
        if self._client_id is None:
            return None
        entries = [
            entry
            for entry in self.subscriptions.all()
            # What a subscription began with has to come before it counts as restored.
            if entry.was_confirmed and (entry.owed is None or "since" not in entry.options)
        ]
        return StoredState(
            client_id=self._client_id,
            session_id=self._session_id,
            cursor=self.progress.cursor(),
            subscriptions=tuple(
                StoredSubscription(entry.topic, entry.options, entry.created_at)
                for entry in entries
            ),
        )

    def _debug(self, text: str, *details: object) -> None:
        if self._config.debug:
            logger.debug(text, *details)
