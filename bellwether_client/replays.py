"""The replays that this client asks for: one at a time on a connection, as the server has it.

Those that are owed wait for their turn, over connections: one that was cut off is asked for again
from the place where it had begun, and what it had brought is not given twice.

Bound: one for each entry that asks, one for a lost session, and those that the application awaits.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bellwether_client.cursor import Cursor, CursorTrack
from bellwether_client.entry import Entry
from bellwether_client.errors import NotificationError
from bellwether_client.frames import ReplayComplete, RequestId
from bellwether_client.messages import ReplayResult
from bellwether_client.requests import Expected, Reply, Requests, ask_again_after
from bellwether_client.subscription import LocalSubscription
from bellwether_client.tasks import Timers
from bellwether_client.topics import matches, split


@dataclass(slots=True, eq=False, kw_only=True)
class Replay:
    """One replay that is owed.

    kind: `session` (after a session that is gone), `subscribe` (what a new subscription asks
    for), or `asked` (by `replay`). entry: None for all. locals: who gets it; None: all that share
    the entry. place: where it begins; None: told when it is asked for. again: where it does in a
    `subscribe` for what the server has lost; None: as the options say. had: what it has brought.
    behind: what handlers had of it before; None: nothing. answer: the application's, who gets the
    result.
    """

    kind: Literal["session", "subscribe", "asked"]
    entry: Entry | None = None
    locals: Sequence[LocalSubscription] | None = None
    place: Cursor | None = None
    again: Cursor | None = None
    options: dict[str, Any] = field(default_factory=dict)
    max_age: int | None = None
    had: CursorTrack = field(default_factory=CursorTrack)
    behind: CursorTrack | None = None
    answer: "asyncio.Future[ReplayResult] | None" = None
    id: RequestId | None = None
    was_sent: bool = False
    is_dropped: bool = False

    @property
    def is_for_all(self) -> bool:
        """Whether the application awaits it, for all subscriptions."""
        return self.entry is None and self.kind == "asked"


class Replays:
    """What is owed, and the one that runs.

    is_resuming: whether the replay that follows a resume is going out.
    base: where `replay_missed` begins on this connection. subscribe: sends the `subscribe` of a
    replay. done: told when one is over, with its end, or with the refusal that ended it.
    """

    def __init__(
        self,
        *,
        requests: Requests,
        send: Callable[[dict[str, Any]], None],
        timers: Timers,
        base: Callable[[], Cursor],
        subscribe: Callable[[Replay], None],
        done: Callable[[Replay, ReplayComplete | NotificationError], None],
    ) -> None:
        self.current: Replay | None = None
        self.is_resuming = False
        self._requests = requests
        self._send = send
        self._timers = timers
        self._base = base
        self._subscribe = subscribe
        self._done = done
        self._owed: deque[Replay] = deque()
        self._is_online = False
        self._pause: asyncio.TimerHandle | None = None

    @property
    def is_session_owed(self) -> bool:
        """Whether a replay is owed for a session that is gone; it goes before all others."""
        return self.session is not None

    @property
    def session(self) -> Replay | None:
        """The replay that is owed for a session that is gone."""
        first = self.current or (self._owed[0] if self._owed else None)
        is_owed = first is not None and first.kind == "session" and not first.is_dropped
        return first if is_owed else None

    def for_all(self) -> list[Replay]:
        """Return those that the application awaits for all subscriptions."""
        everything = [self.current, *self._owed]
        return [one for one in everything if one is not None and one.is_for_all]

    # --- Over connections -----------------------------------------------------------------------

    def open(self, *, is_resuming: bool, session: Replay | None) -> None:
        """Begin on a connection whose subscriptions have been adopted or asked for.

        session: what makes up for one that is gone.
        """
        self.is_resuming = is_resuming
        self._is_online = True
        if session is not None:
            self._owed.appendleft(session)
        self.go_on()

    def lost(self) -> None:
        """Keep what is owed for the next connection; a session's is the next resume's business."""
        self.is_resuming = self._is_online = False
        self._timers.cancel(self._pause)
        self._pause = None
        current, self.current = self.current, None
        if current is not None and not current.is_dropped:
            current.id = None
            self._owed.appendleft(current)
            if current.answer is not None and current.answer.cancelled():
                self.withdraw(current)
        self._owed = deque(replay for replay in self._owed if replay.kind != "session")

    def abandon(self, error: Exception) -> None:
        """Reject what the application awaits: no connection will follow."""
        self.lost()
        asked = [replay for replay in self._owed if replay.answer is not None]
        self._owed = deque(replay for replay in self._owed if replay.answer is None)
        for replay in asked:
            _release(replay)
            _answer(replay, error)

    # --- What is owed ---------------------------------------------------------------------------

    def owe(self, replay: Replay) -> None:
        """Ask for a replay when its turn comes."""
        self._owed.append(replay)
        for local in replay.locals or ():
            local.hold(replay)
        self.go_on()

    def forget(self, entry: Entry) -> None:
        """Ask for nothing more for an entry that ends."""
        for replay in [self.current, *self._owed]:
            if replay is not None and replay.entry is entry:
                self._drop(replay, NotificationError("ENDED", "The subscription has ended."))

    def withdraw(self, replay: Replay) -> None:
        """Forget one that nobody awaits any more; one that was asked for comes to its end."""
        if replay in self._owed:
            self._owed.remove(replay)
            _release(replay)

    def give_up(self, replay: Replay) -> None:
        """Wait for one no longer: too much waits for it."""
        error = NotificationError("GIVEN_UP", "Too many messages wait for this replay.")
        self._drop(replay, error)
        self._done(replay, error)

    def go_on(self) -> None:
        """Ask for the next one, if its turn has come."""
        if not self._is_online or self.is_resuming or self.current is not None or self._pause:
            return
        for replay in self._owed:
            if _can_be_asked(replay):
                self._owed.remove(replay)
                self._ask(replay)
                return

    def is_for(self, topic: str) -> bool:
        """Tell whether a replayed message of a topic belongs to the one that runs.

        Another topic's is a redelivery, which may come in between.
        """
        if self.current is None:
            return False
        if self.current.kind == "session":
            return self.current.is_dropped  # the rest of one that was given up
        entry = self.current.entry
        return entry is None or matches(entry.segments, split(topic))

    # --- Its answers ----------------------------------------------------------------------------

    def completed(self, frame: ReplayComplete) -> bool:
        """Take the end of a replay; False when it is none of these."""
        current = self.current
        if current is None or frame.id is None or frame.id != current.id:
            return False
        self.current = None
        if not current.is_dropped:
            self._close(current, frame)
        self.go_on()
        return True

    def refused(self, replay: Replay, error: NotificationError) -> None:
        """Take a refusal: for now, or for good."""
        self.current = None
        if error.temporary and not replay.is_dropped:
            self.again(replay, ask_again_after(error))
            return
        if not replay.is_dropped:
            self._close(replay, error)
        self.go_on()

    def again(self, replay: Replay, delay: float) -> None:
        """Ask once more, in so many milliseconds, and for nothing until then."""
        self.current, replay.id = None, None
        self._owed.appendleft(replay)
        self._timers.cancel(self._pause)
        self._pause = self._timers.after(delay, self._resume)

    def ended(self, replay: Replay) -> None:
        """Let one go that has become needless."""
        self.current = None
        _release(replay)
        self.go_on()

    def _resume(self) -> None:
        self._pause = None
        self.go_on()

    def _ask(self, replay: Replay) -> None:
        self.current = replay
        replay.id = request_id = self._requests.new_id()
        replay.was_sent = True
        if replay.place is None:
            # The newest n begin where the subscription does, which the server knows.
            base = self._base()
            replay.place = Cursor(base.epoch, {}) if "since" in replay.options else base
            replay.again = base
            if replay.entry is not None:
                replay.entry.begin(replay.place)
        if replay.kind == "subscribe":
            self._subscribe(replay)
            return
        place = replay.place.to_wire()
        frame: dict[str, Any] = {"type": "replay", "id": request_id, "cursor": place}
        if replay.entry is not None:
            frame["subscriptionId"] = replay.entry.held_id
        if replay.max_age is not None:
            frame["maxReplayAge"] = replay.max_age

        def refused(error: NotificationError) -> None:
            self.refused(replay, error)

        def ok(reply: Reply) -> None:
            if isinstance(reply, ReplayComplete):
                self.completed(reply)

        self._requests.expect(request_id, Expected(ok, refused, lambda: None))
        self._send(frame)

    def _close(self, replay: Replay, end: ReplayComplete | NotificationError) -> None:
        # First the cursor and the events, then what was held back, then who awaits it.
        self._done(replay, end)
        _release(replay)
        _answer(replay, end)

    def _drop(self, replay: Replay, error: NotificationError) -> None:
        """Forget one; while it runs, what it still brings finds nobody."""
        replay.is_dropped = True
        if replay in self._owed:
            self._owed.remove(replay)
        _release(replay)
        _answer(replay, error)


def _can_be_asked(replay: Replay) -> bool:
    """Tell whether the server holds what it is for, and somebody here waits for it."""
    entry = replay.entry
    if replay.kind != "asked" or entry is None:
        return True
    return entry.held_id is not None and bool(entry.locals)


def _release(replay: Replay) -> None:
    if replay.entry is not None:
        replay.entry.release(replay)
    for local in replay.locals or ():
        local.release(replay)


def _answer(replay: Replay, end: ReplayComplete | Exception) -> None:
    answer = replay.answer
    if answer is None or answer.done():
        return
    if isinstance(end, Exception):
        answer.set_exception(end)
    else:
        answer.set_result(ReplayResult(recovered=end.recovered, count=end.count, reason=end.reason))
