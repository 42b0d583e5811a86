"""Asks the server for subscriptions, and to end them, until it has answered for good."""

from collections.abc import Callable
from typing import Any, Protocol

from bellwether_client.cursor import Cursor, CursorTrack
from bellwether_client.endings import Endings
from bellwether_client.entry import Entry
from bellwether_client.errors import NotificationError
from bellwether_client.frames import Subscribed, Verified
from bellwether_client.replays import Replay, Replays
from bellwether_client.requests import Expected, Reply, Requests, ask_again_after
from bellwether_client.tasks import Timers


class Keeper(Protocol):
    """Who keeps the entries."""

    replays: Replays

    def is_wanted(self, entry: Entry) -> bool:
        """Whether an entry is one of those that there are, while there is a connection."""

    def confirm(self, entry: Entry, subscription_id: str) -> None:
        """The server has it."""

    def end(self, entry: Entry, error: NotificationError) -> None:
        """The server refused it for good."""

    def replay_lost(self, entry: Entry) -> None:
        """A replay was cut off, and cannot be had again."""

    def look_whether_restored(self) -> None:
        """An answer has come."""


class Asking:
    """The requests about subscriptions."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        endings: Endings,
        requests: Requests,
        send: Callable[[dict[str, Any]], None],
        timers: Timers,
    ) -> None:
        self._keeper = keeper
        self._endings = endings
        self._requests = requests
        self._send = send
        self._timers = timers

    def ask(
        self, entry: Entry, *, since: Cursor | None = None, had: CursorTrack | None = None
    ) -> None:
        """Ask for a subscription; where that brings a replay, when its turn comes.

        since: where one goes on that the server has lost. had: what has arrived since then.
        """
        entry.is_asking = True
        if entry.owed is not None:
            self._begin_again(entry, entry.owed)
            self._keeper.replays.go_on()
            return
        entry.owed = _beginning(entry, since, had)
        if entry.owed is not None:
            for local in entry.locals:
                local.hold(entry.owed)
            self._keeper.replays.owe(entry.owed)
            return
        options = {key: value for key, value in entry.options.items() if key != "since"}
        self._subscribe(entry, self._requests.new_id(), options, None)

    def subscribe_for(self, replay: Replay) -> None:
        """Send the `subscribe` that a replay begins with; its turn has come."""
        assert replay.entry is not None
        assert isinstance(replay.id, int)
        replay.entry.is_asking = True
        self._subscribe(replay.entry, replay.id, replay.options, replay)

    def replace(
        self, entry: Entry, subscription_id: str, since: Cursor | None, had: CursorTrack
    ) -> None:
        """Ask anew for what the server holds with other options than ours."""
        entry.held_id = None
        self._endings.ask(entry.topic, subscription_id)
        self.ask(entry, since=since, had=had)

    def verify(self, ids: list[str], ended: Callable[[str, NotificationError], None]) -> None:
        """Ask which subscriptions are in force. ended: told of each that is not."""

        def ok(reply: Reply) -> None:
            if isinstance(reply, Verified):
                for subscription_id, code in reply.inactive:
                    text = "The server does not have this subscription any more."
                    ended(subscription_id, NotificationError(code, text))

        request_id = self._requests.new_id()
        self._requests.expect(request_id, Expected(ok, lambda error: None, lambda: None))
        self._send({"type": "verify", "id": request_id, "subscriptionIds": ids})

    def _subscribe(
        self, entry: Entry, request_id: int, options: dict[str, Any], replay: Replay | None
    ) -> None:
        keeper = self._keeper

        def ok(reply: Reply) -> None:
            entry.is_asking = False
            if isinstance(reply, Subscribed):
                entry.is_new = False
                if replay is not None:
                    replay.kind = "asked"  # what is cut off now is asked for by `replay`
                keeper.confirm(entry, reply.subscription_id)
            keeper.look_whether_restored()

        def refused(error: NotificationError) -> None:
            entry.is_asking = False
            self._refused(entry, error, replay)
            keeper.look_whether_restored()

        # What is lost is seen to when all of it is.
        self._requests.expect(request_id, Expected(ok, refused, lambda: None))
        frame: dict[str, Any] = {"type": "subscribe", "id": request_id, "topic": entry.topic}
        if options:
            frame["options"] = options
        self._send(frame)

    def _refused(self, entry: Entry, error: NotificationError, replay: Replay | None) -> None:
        replays = self._keeper.replays
        existing = (error.data or {}).get("subscriptionId")
        if error.code == "ALREADY_SUBSCRIBED" and isinstance(existing, str):
            self._already_held(entry, existing, replay)
        elif entry.is_outdated:  # it is not those who are here now that are refused
            if replay is not None:
                replays.ended(replay)
            entry.is_outdated = False
            self.ask(entry)
        elif entry.was_confirmed and error.temporary:
            if replay is not None:
                replays.again(replay, ask_again_after(error))
            else:
                self._timers.after(ask_again_after(error), lambda: self._ask_again(entry))
        else:
            if replay is not None:
                replays.ended(replay)
            self._keeper.end(entry, error)

    def _already_held(self, entry: Entry, existing: str, replay: Replay | None) -> None:
        replays = self._keeper.replays
        if replay is not None and "since" in replay.options:
            # What `since` asks for comes with a new subscription only.
            self._endings.ask(entry.topic, existing)
            replays.again(replay, 0)
            return
        if replay is not None:
            replays.ended(replay)
        entry.is_new = False
        self._keeper.confirm(entry, existing)

    def _begin_again(self, entry: Entry, replay: Replay) -> None:
        """Let a replay that is owed begin with a `subscribe`: the server has not, or not so."""
        replay.kind = "subscribe"
        replay.options = dict(entry.options)
        if entry.asks_newest and (replay.again is None or not entry.was_confirmed):
            replay.place, replay.had = None, CursorTrack()  # the newest n of now
        if replay.place is None:
            return
        if replay.again is not None and replay.again != replay.place:
            # The newest n of then can not be had again; what came after them can.
            self._keeper.replay_lost(entry)
            replay.place = replay.again
            entry.begin(replay.place)
        if entry.was_confirmed:
            replay.options.pop("replayMissed", None)
        replay.options["since"] = replay.place.to_wire()

    def _ask_again(self, entry: Entry) -> None:
        if self._keeper.is_wanted(entry) and entry.held_id is None and not entry.is_asking:
            self.ask(entry)


def _beginning(entry: Entry, since: Cursor | None, had: CursorTrack | None) -> Replay | None:
    """Return the replay with which a subscription begins, or begins anew."""
    options, missed = dict(entry.options), entry.options.get("replayMissed")
    if entry.is_new and ("since" in options or missed is True):
        place, track = _cursor_in(options), CursorTrack()
    elif since is None:
        return None
    else:
        # The server lost it, or gets it anew: what came since is missing.
        # Handlers may still be in an earlier replay, whose rest a restart could not have otherwise:
        # a subscription's own beginning bounds its replays.
        rest, track = entry.replay_from, CursorTrack() if had is None else had.copy()
        place = rest if rest is not None and rest.epoch == since.epoch else since
        if entry.is_unheard:  # what waits for a handler comes again: nobody has had it
            track = CursorTrack()
            entry.let_go()
        if missed is False:
            return None
        options.pop("replayMissed", None)
        options["since"] = place.to_wire()
    if place is not None:
        entry.begin(place)
    return Replay(
        kind="subscribe", entry=entry, place=place, again=place, options=options, had=track
    )


def _cursor_in(options: dict[str, Any]) -> Cursor | None:
    since = options.get("since")
    if isinstance(since, dict) and "epoch" in since:
        return Cursor(since["epoch"], since["offsets"])
    return None
