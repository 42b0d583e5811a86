"""What the application subscribed to, what the server holds, and how the two are kept the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bellwether_client.asking import Asking
from bellwether_client.cursor import Cursor, CursorTrack
from bellwether_client.endings import Endings
from bellwether_client.entries import Entries
from bellwether_client.entry import Entry, serves
from bellwether_client.errors import NotificationError
from bellwether_client.frames import HeldSubscription
from bellwether_client.replays import Replay, Replays
from bellwether_client.requests import Requests
from bellwether_client.restoring import Restoring
from bellwether_client.sendable import Sendable
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
        sendable: Sendable,
        timers: Timers,
        here: Callable[[], tuple[Cursor | None, CursorTrack]],
        told: Told,
    ) -> None:
        self.replays: Replays
        self._here = here
        self._sendable = sendable
        self._told = told
        self._endings = Endings(requests=requests, send=send, timers=timers)
        self._asking = Asking(
            self, endings=self._endings, requests=requests, send=send, timers=timers
        )
        self._restoring = Restoring(timers, told.restored)
        self._entries = Entries()
        self._by_id: dict[str, LocalSubscription] = {}
        self._is_online = False

    # --- The application's side -----------------------------------------------------------------

    def add(self, local: LocalSubscription) -> None:
        """Take a subscription; one that cannot be is ended at once."""
        try:
            options = self._sendable.options(local.topic, local.options.to_wire())
        except NotificationError as error:
            self._refuse(local, error)
            return
        entry, is_other = self._entries.get(local.topic), False
        if entry is None:
            entry = self._new_entry(local.topic, options, local.created_at)
        elif entry.is_orphan:
            # One to which a replay is owed waits for the next connection, which compares again.
            is_other = entry.owed is None and not serves(entry.options, options)
            entry.take_over(options)
            self._told.subscriptions_changed()
        elif not entry.locals:
            entry.renew(options)  # an answer is still to come, but for one that waits for its turn
            self.replays.forget(entry)
        elif not entry.agrees(options):
            text = f"Give the options of the first subscription to {local.topic}."
            self._refuse(local, NotificationError("CONFLICT", text))
            return
        self._by_id[local.id] = local
        entry.locals.append(local)
        if entry.held_id is not None and (entry.is_new or is_other):
            self._asking.replace(entry, entry.held_id, *self._here())
        elif entry.held_id is not None:
            self._confirm_locals(entry)
            self.replays.go_on()
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
        entry.is_orphan = entry.is_unheard = not entry.locals

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

    def recall(
        self,
        topic: str,
        options: dict[str, Any],
        created_at: datetime,
        *,
        replay_from: Cursor | None = None,
    ) -> None:
        """Take up one that an earlier run of this client had; it waits for its handler.

        replay_from: where the rest begins of a replay that was cut off.
        """
        if topic in self._endings or pattern_problem(topic) is not None:
            return
        entry = self._entries.get(topic)
        if entry is None:
            entry = self._new_entry(topic, options, created_at, is_orphan=True)
        entry.recall()
        if replay_from is not None:
            self._owe_rest(entry, replay_from)

    def abandon(self) -> None:
        """Have what handlers have not had of a beginning come again: what waited was forgotten."""
        for entry in self.all():
            if entry.was_confirmed and (rest := entry.replay_from) is not None:
                if entry.owed is not None:
                    self.replays.withdraw(entry.owed)
                self._owe_rest(entry, rest)

    def restore(
        self, held: Iterable[HeldSubscription], *, since: Cursor | None, had: CursorTrack
    ) -> None:
        """Bring both sides together after auth_success. The server's list is authoritative.

        since: where a subscription goes on that the server has lost; None on a first connection.
        had: what has arrived already.
        """
        self._is_online = True
        self._restoring.begin()
        left = self._endings.take()
        for one in held:
            if one.topic in left:
                self._endings.ask(one.topic, one.subscription_id)
            else:
                self._adopt(one, since, had)
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
            is_outdated = entry.is_outdated
            entry.held_id = None
            entry.is_asking = entry.is_outdated = False
            if not entry.locals and not entry.is_orphan:
                self._forget(entry)
                is_outdated = True
            if is_outdated:
                self._endings.add(entry.topic)  # the server may hold it or not

    def begun_by_others(self, held: HeldSubscription) -> None:
        """Take one that was begun from outside: without a handler here it is an orphan."""
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

    def replay_lost(self, entry: Entry) -> None:
        """Note that a replay was cut off, and cannot be had again."""
        self._told.replay_lost(entry)

    def confirm(self, entry: Entry, subscription_id: str) -> None:
        """Note that the server has a subscription."""
        self._endings.done(entry.topic)
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
        return entry

    def _owe_rest(self, entry: Entry, rest: Cursor) -> None:
        """Owe the rest of a replay that was cut off; it goes out once there is a handler."""
        entry.place = None
        entry.begin(rest)
        # Where the server has lost what bounds the newest n, they are asked for anew.
        again = None if entry.asks_newest else rest
        behind = CursorTrack()
        behind.reset(rest)
        entry.owed = Replay(kind="asked", entry=entry, place=rest, again=again, behind=behind)
        self.replays.owe(entry.owed)

    def _adopt(self, held: HeldSubscription, since: Cursor | None, had: CursorTrack) -> None:
        """Take what the server holds as ours, unless it has to be another."""
        entry = self._entries.get(held.topic)
        if entry is None:
            entry = self._new_entry(held.topic, held.options, held.created_at, is_orphan=True)
            self._told.subscriptions_changed()
        # One of an earlier run goes on where its handlers were.
        here = since if entry.was_confirmed else None
        if entry.is_orphan:
            entry.options = dict(held.options)
        elif not serves(held.options, entry.options):
            self._asking.replace(entry, held.subscription_id, here, had)
            return
        owed = entry.owed
        if owed is not None and owed.kind == "subscribe" and owed.was_sent:
            owed.kind = "asked"  # it took effect: what it brings is asked for again
            entry.is_new = False
        # What `since` asks for comes with a new one only.
        if entry.is_new and "since" in entry.options:
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
            self._endings.ask(entry.topic, entry.held_id)
        elif not self._is_online:
            self._endings.add(entry.topic)  # an answer may have been lost

    def _forget(self, entry: Entry) -> None:
        self._entries.remove(entry)
        self.replays.forget(entry)
        entry.let_go()
        if entry.was_confirmed:
            self._told.subscriptions_changed()
