"""What the application subscribed to, what the server holds, and how the two are kept the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bellwether_client.asking import Asking
from bellwether_client.cursor import Cursor, CursorTrack
from bellwether_client.entries import Entries
from bellwether_client.entry import Entry
from bellwether_client.errors import NotificationError
from bellwether_client.frames import HeldSubscription
from bellwether_client.replays import Replay, Replays
from bellwether_client.requests import Requests
from bellwether_client.restoring import Restoring
from bellwether_client.subscription import LocalSubscription
from bellwether_client.tasks import Timers
from bellwether_client.told import Told
from bellwether_client.topics import pattern_problem


class Subscriptions:
    """All subscriptions of a client. Bound: the server's, 100 topics and patterns.

    here: how far the handlers are, and what has arrived.
    """

    def __init__(
        self,
        *,
        requests: Requests,
        send: Callable[[dict[str, Any]], None],
        timers: Timers,
        here: Callable[[], tuple[Cursor | None, CursorTrack]],
        told: Told,
    ) -> None:
        self.replays: Replays
        self._here = here
        self._told = told
        self._asking = Asking(self, requests=requests, send=send, timers=timers)
        self._restoring = Restoring(timers, told.restored)
        self._entries = Entries()
        self._by_id: dict[str, LocalSubscription] = {}
        self._left: set[str] = set()  # unsubscribed while away: the server may still hold them
        self._is_online = False

    # --- The application's side -----------------------------------------------------------------

    def add(self, local: LocalSubscription) -> None:
        """Take a subscription; one that cannot be is ended at once."""
        problem = pattern_problem(local.topic)
        if problem is not None:
            self._refuse(local, NotificationError("BAD_TOPIC", problem))
            return
        options = local.options.to_wire()
        entry = self._entries.get(local.topic)
        if entry is None:
            entry = self._new_entry(local.topic, options, local.created_at)
        elif entry.is_orphan:
            entry.take_over(options)
            self._told.subscriptions_changed()
        elif not entry.locals and not entry.agrees(options):
            entry.renew(options)  # an answer is still to come, but for one that waits for its turn
            self.replays.forget(entry)
        elif not entry.agrees(options):
            text = f"Give the options of the first subscription to {local.topic}."
            self._refuse(local, NotificationError("CONFLICT", text))
            return
        self._by_id[local.id] = local
        entry.locals.append(local)
        if entry.held_id is not None and entry.is_new:
            self._asking.replace(entry, entry.held_id, *self._here())
        elif entry.held_id is not None:
            self._confirm_locals(entry)
        elif self._is_online and not entry.is_asking:
            self._asking.ask(entry)

    def remove(self, subscription_id: str) -> None:
        """End a subscription; an id that is unknown does nothing."""
        local = self._by_id.pop(subscription_id, None)
        if local is None:
            return
        local.end()
        entry = self._entries[local.topic]
        entry.locals.remove(local)
        if not entry.locals and not entry.is_asking:
            self._drop(entry)

    def detach(self, subscription_id: str) -> None:
        """Let a handler go and keep its subscription, which is an orphan then."""
        local = self._by_id.pop(subscription_id, None)
        if local is None:
            return
        local.end()
        entry = self._entries[local.topic]
        entry.locals.remove(local)
        entry.is_orphan = not entry.locals

    def entry_of(self, subscription_id: str) -> Entry | None:
        """Return what a subscription of the application shares."""
        local = self._by_id.get(subscription_id)
        return None if local is None else self._entries[local.topic]

    def local(self, subscription_id: str) -> LocalSubscription | None:
        """Return a subscription that has not ended."""
        return self._by_id.get(subscription_id)

    def locals(self) -> list[LocalSubscription]:
        """Return all that have not ended."""
        return list(self._by_id.values())

    def matching(self, topic: str) -> Sequence[Entry]:
        """Return who wants a message of a topic."""
        return self._entries.matching(topic)

    def all(self) -> list[Entry]:
        """Return all that there are."""
        return self._entries.all()

    # --- The server's side ----------------------------------------------------------------------

    def recall(self, topic: str, options: dict[str, Any], created_at: datetime) -> None:
        """Take up one that an earlier run of this client had; it waits for its handler."""
        entry = self._entries.get(topic)
        if entry is None:
            if pattern_problem(topic) is None:
                entry = self._new_entry(topic, options, created_at, is_orphan=True)
                entry.is_recalled = True
            return
        # Its handler is here already: what the server has is ours, where the options are.
        entry.was_confirmed = entry.may_be_held = True
        if all(entry.options.get(key) == options.get(key) for key in entry.options | options):
            entry.is_new = False

    def restore(
        self, held: Iterable[HeldSubscription], *, since: Cursor | None, had: CursorTrack
    ) -> None:
        """Bring both sides together after auth_success. The server's list is authoritative.

        since: where a subscription goes on that the server has lost; None on a first connection.
        had: what has arrived already.
        """
        self._is_online = True
        self._restoring.begin()
        for one in held:
            self._adopt(one, since, had)
        self._left.clear()
        for entry in self.all():
            if entry.held_id is None and not entry.is_asking:
                self._asking.ask(entry, since=since if entry.was_confirmed else None, had=had)

    def verify(self) -> None:
        """Ask whether all that is held is in force; what is not ends."""
        ids = [entry.held_id for entry in self.all() if entry.held_id is not None]
        if ids:
            self._asking.verify(ids, self.ended_by_server)

    def suspend(self) -> None:
        """Note that the connection is gone: nothing is known of the server until `restore`."""
        self._is_online = False
        self._restoring.stop()
        for entry in self.all():
            entry.held_id = None
            entry.is_asking = entry.is_outdated = False
            if not entry.locals and not entry.is_orphan:
                self._forget(entry)
                self._leave(entry)

    def begun_by_others(self, held: HeldSubscription) -> None:
        """Take one that was begun from outside: without a handler here it is an orphan."""
        self._left.discard(held.topic)
        entry = self._entries.get(held.topic)
        if entry is None:
            self._adopt(held, None, CursorTrack())
        elif not entry.is_asking:  # otherwise the answer to that names it
            self.confirm(entry, held.subscription_id)

    def ended_by_server(self, subscription_id: str, error: NotificationError) -> None:
        """Note that the server ended a subscription of its own accord."""
        for entry in self.all():
            if entry.held_id == subscription_id:
                self.end(entry, error)

    def subscribe_for(self, replay: Replay) -> None:
        """Send the `subscribe` that a replay begins with."""
        self._asking.subscribe_for(replay)

    # --- What the asking tells ------------------------------------------------------------------

    def is_wanted(self, entry: Entry) -> bool:
        """Tell whether an entry is one of those that there are, while there is a connection."""
        return self._is_online and self._entries.get(entry.topic) is entry

    def has_topic(self, topic: str) -> bool:
        """Tell whether there is an entry for a topic."""
        return self._entries.get(topic) is not None

    def left(self, topic: str) -> None:
        """Note that the server may still hold what is wanted no more."""
        self._left.add(topic)

    def confirm(self, entry: Entry, subscription_id: str) -> None:
        """Note that the server has a subscription."""
        entry.held_id = subscription_id
        was_new, entry.was_confirmed = not entry.was_confirmed, True
        entry.is_asking = False
        if not entry.locals and not entry.is_orphan:
            self._drop(entry)  # unsubscribed while we asked
            return
        if entry.is_outdated:
            entry.is_outdated, entry.is_new = False, True
            self._asking.replace(entry, subscription_id, None, CursorTrack())
            return
        self._confirm_locals(entry)
        if was_new:
            self._told.subscriptions_changed()
        if entry.is_orphan and not entry.is_told:
            entry.is_told = True
            self._told.orphan_found(entry)
        self.replays.go_on()

    def end(self, entry: Entry, error: NotificationError) -> None:
        """End a subscription by the server's decision."""
        self._forget(entry)
        for local in list(entry.locals):
            self._by_id.pop(local.id, None)
            self._refuse(local, error)

    def look_whether_restored(self) -> None:
        """Tell when all that was to be restored has been answered."""
        if not any(entry.is_asking for entry in self.all()):
            self._restoring.finish()

    # --- Inside ---------------------------------------------------------------------------------

    def _new_entry(
        self,
        topic: str,
        options: Mapping[str, Any],
        created_at: datetime,
        *,
        is_orphan: bool = False,
    ) -> Entry:
        entry = Entry(topic, dict(options), created_at=created_at, is_orphan=is_orphan)
        self._entries.add(entry)
        entry.may_be_held |= topic in self._left
        self._left.discard(topic)
        return entry

    def _adopt(self, held: HeldSubscription, since: Cursor | None, had: CursorTrack) -> None:
        """Take what the server holds as ours, unless it has to be another."""
        entry = self._entries.get(held.topic)
        if entry is None:
            if held.topic in self._left:
                self._asking.unsubscribe(held.topic, held.subscription_id)
                return
            entry = self._new_entry(held.topic, held.options, held.created_at, is_orphan=True)
            self._told.subscriptions_changed()
        owed = entry.owed
        if owed is not None and owed.kind == "subscribe" and owed.was_sent:
            owed.kind = "asked"  # it took effect: what it brings is asked for again
            entry.is_new = False
        # What `since` asks for comes with a new one only.
        if entry.is_new and ("since" in entry.options or not entry.agrees(held.options)):
            # One of an earlier run goes on where its handlers were.
            here = since if entry.was_confirmed else None
            self._asking.replace(entry, held.subscription_id, here, had)
            return
        entry.is_new = False
        self.confirm(entry, held.subscription_id)

    def _confirm_locals(self, entry: Entry) -> None:
        for local in list(entry.locals):
            local.confirm()
            for replay in self.replays.for_all():
                local.hold(replay)
            if entry.owed is not None:
                local.hold(entry.owed)
        if entry.locals:
            entry.is_orphan = False
            entry.hand_over()

    def _refuse(self, local: LocalSubscription, error: NotificationError) -> None:
        local.end(error)
        self._told.subscription_ended(local, error)

    def drop(self, entry: Entry) -> None:
        """End an orphan."""
        if entry.is_orphan and self._entries.get(entry.topic) is entry:
            self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        self._forget(entry)
        if entry.held_id is not None:
            self._asking.unsubscribe(entry.topic, entry.held_id)
        elif not self._is_online:
            self._leave(entry)

    def _leave(self, entry: Entry) -> None:
        if entry.may_be_held:  # so there are no more of them than were asked for
            self._left.add(entry.topic)

    def _forget(self, entry: Entry) -> None:
        self._entries.remove(entry)
        self.replays.forget(entry)
        entry.let_go()
        if entry.was_confirmed:
            self._told.subscriptions_changed()
