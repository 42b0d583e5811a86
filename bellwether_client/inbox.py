"""What the server's frames mean for handlers and cursor, once a connection is accepted.

While a session that is gone is being made up for by a replay, what comes besides is parked: it
follows after the replay, without what the replay has brought.
"""

from collections.abc import Callable

from bellwether_client.backlog import WAITING_BOUND
from bellwether_client.cursor import Cursor, Position
from bellwether_client.entry import Entry
from bellwether_client.errors import NotificationError
from bellwether_client.events import Events, Gap, Recovered
from bellwether_client.frames import AuthSuccess, GapFrame, Pong, ReplayComplete
from bellwether_client.messages import NotificationMessage
from bellwether_client.progress import Progress, Step
from bellwether_client.replays import Replay, Replays
from bellwether_client.requests import Requests
from bellwether_client.statistics import Statistics
from bellwether_client.subscription import LocalSubscription, Message
from bellwether_client.subscriptions import Subscriptions

Parked = Message | Pong | GapFrame


class Inbox:
    """Bound: WAITING_BOUND of what is parked. Policy: over it the connection is dropped, and
    resumed. Metric: `get_stats().waiting`. base: where `replay_missed` begins on this connection.
    """

    def __init__(
        self,
        *,
        events: Events,
        progress: Progress,
        replays: Replays,
        requests: Requests,
        statistics: Statistics,
        subscriptions: Subscriptions,
        overwhelmed: Callable[[], None],
    ) -> None:
        self._overwhelmed = overwhelmed
        self._events = events
        self._progress = progress
        self._replays = replays
        self._requests = requests
        self._statistics = statistics
        self._subscriptions = subscriptions
        self._parked: dict[Position | int, tuple[Parked, bool]] = {}
        self.base = self._head = Cursor("", {})

    # --- A connection begins and ends -----------------------------------------------------------

    def accepted(self, frame: AuthSuccess, *, had_session: bool) -> None:
        """Begin on a connection; had_session: whether it asked to resume one."""
        self.base = self._head = frame.cursor
        resumed = had_session and frame.resumed
        here = self._progress.cursor() if had_session else None
        if here is None and not resumed:
            self._progress.reset(frame.cursor)
        # Where another life of the log has begun, the session's replay tells the loss.
        since = here if here is not None and here.epoch == frame.cursor.epoch else None
        self._subscriptions.restore(frame.subscriptions, since=since, had=self._progress.seen())
        self._subscriptions.look_whether_restored()
        is_gone = here is not None and not resumed
        session = Replay(kind="session", place=here) if is_gone else None
        self._replays.open(is_resuming=resumed, session=session)

    def lost(self) -> None:
        """Note that the connection is gone. What was parked comes again."""
        self._replays.lost()
        self._parked.clear()

    @property
    def parked(self) -> int:
        """How many frames wait for the replay of a lost session."""
        return len(self._parked)

    # --- Frames ---------------------------------------------------------------------------------

    def message(self, message: Message) -> None:
        """Give a message to who wants it."""
        if self._replays.is_session_owed:
            current = self._replays.current
            if message.replayed and current is not None and current.kind == "session":
                self._unpark(message.position)
            else:
                self._park(message)
                return
        elif message.replayed and not self._replays.is_resuming:
            self._asked_again(message)
            return
        self._live(message)

    def _live(self, message: Message) -> None:
        """Take a message that comes once."""
        position = message.position
        if position is not None:
            if self._progress.has_seen(position):
                return
            self._progress.saw(position)
        self._deliver(message)

    def pong(self, frame: Pong) -> None:
        """Take what lies behind us."""
        if self._replays.is_session_owed:
            self._park(frame)
        else:
            self._progress.merge(frame.cursor)

    def gap(self, frame: GapFrame) -> None:
        """Go on where the server says."""
        if self._replays.is_session_owed:
            self._park(frame)
            return
        self.base = frame.cursor
        self._progress.reset(frame.cursor)
        self._events.emit(Gap(reason=frame.reason, topic=frame.topic, cursor=frame.cursor))

    def replay_complete(self, frame: ReplayComplete) -> None:
        """Take the end of a replay."""
        if frame.id is None:
            self._resume_complete(frame)
        elif not self._requests.answer(frame.id, frame) and not self._replays.completed(frame):
            self._progress.merge(frame.cursor)

    def replay_done(self, replay: Replay, end: ReplayComplete | NotificationError) -> None:
        """Take the end of a replay that this client asked for, or its refusal."""
        if replay.kind == "session":
            self._session_done(end)
            return
        if isinstance(end, ReplayComplete):
            self._progress.merge(end.cursor)
        if replay.answer is None and replay.entry is not None:
            self._tell(replay.entry.topic, end)

    # --- Delivery -------------------------------------------------------------------------------

    def _deliver(self, message: Message) -> None:
        """Give a message to all that want it."""
        takers: list[LocalSubscription] = []
        orphans: list[Entry] = []
        for entry in self._subscriptions.matching(message.topic):
            if entry.is_orphan:
                orphans.append(entry)
            else:
                takers.extend(local for local in entry.locals if local.wants(message))
        self._statistics.received += 1
        if not takers and not orphans:
            if message.position is not None:
                self._progress.passed(message.position)
            return
        step = self._progress.begin(message.position, len(takers) + len(orphans))
        for entry in orphans:
            self._keep(entry, message, step, is_asked=False)
        for local in takers:
            local.deliver(message, step)

    def _asked_again(self, message: Message) -> None:
        """Give what a `replay` brings to whom it is for; or a redelivery, as any message."""
        position = message.position
        if position is not None:
            self._progress.saw(position)
        current = self._replays.current
        if current is None or not self._replays.is_for(message.topic):
            self._deliver(message)
            return
        if current.is_dropped:
            return
        if position is not None:
            if current.had.covers(position):
                return
            current.had.advance(position)
        takers = self._takers(current, message)
        self._statistics.received += 1
        step = self._progress.begin(position, len(takers) + 1)
        if current.entry is not None and current.answer is None:
            self._of_beginning(current.entry, message, step)
        for local in takers:
            local.bring(message, step)
        step.settle()

    def _of_beginning(self, entry: Entry, message: Message, step: Step) -> None:
        """Note a message of the replay with which an entry begins; without a handler, keep it."""
        if message.position is not None:
            entry.replayed(message.position, step)
        if entry.is_orphan:
            step.add(1)
            self._keep(entry, message, step, is_asked=True)

    def _keep(self, entry: Entry, message: Message, step: Step, *, is_asked: bool) -> None:
        if entry.keep(message, step, is_asked=is_asked):
            self._events.emit(Gap(reason="NO_HANDLER", topic=entry.topic))

    def _takers(self, replay: Replay, message: Message) -> list[LocalSubscription]:
        """Return who gets a message of a replay."""
        if replay.locals is not None and replay.entry is not None:
            return [local for local in replay.locals if local.is_active()]
        if replay.entry is not None:
            return list(replay.entry.locals)
        entries = self._subscriptions.matching(message.topic)
        return [local for entry in entries for local in entry.locals]

    # --- What is parked -------------------------------------------------------------------------

    def _park(self, frame: Parked) -> None:
        position = frame.position if isinstance(frame, NotificationMessage) else None
        if position is None:
            self._parked[id(frame)] = (frame, False)
        else:
            self._parked[position] = (frame, self._progress.has_seen(position))
        if len(self._parked) > WAITING_BOUND:
            self._overwhelmed()  # the new session can be resumed, from the place that we have

    def _unpark(self, position: Position | None) -> None:
        if position is not None:
            self._parked.pop(position, None)

    def _follow(self, *, recovered: bool) -> None:
        """Take what was parked, now that what comes before it has come.

        recovered: whether that is all there was; then what had been seen before is a repeat, and
        what the replay has not brought is none, wherever its splice lies.
        """
        parked, self._parked = list(self._parked.values()), {}
        for frame, was_seen in parked:
            if isinstance(frame, Pong):
                self._progress.merge(frame.cursor)
            elif isinstance(frame, GapFrame):
                self.gap(frame)
            elif not recovered:
                self._live(frame)
            elif not was_seen:
                if frame.position is not None:
                    self._progress.saw(frame.position)
                self._deliver(frame)

    # --- Ends of replays ------------------------------------------------------------------------

    def _resume_complete(self, frame: ReplayComplete) -> None:
        self._replays.is_resuming = False
        # A resume that failed sets the cursor: one above the head would drop live messages.
        if frame.recovered:
            self._progress.merge(frame.cursor)
            self._events.emit(Recovered(count=frame.count))
        else:
            self._progress.reset(frame.cursor)
            self._events.emit(Gap(reason=frame.reason or "UNKNOWN", cursor=frame.cursor))
        self._replays.go_on()

    def _session_done(self, end: ReplayComplete | NotificationError) -> None:
        if isinstance(end, ReplayComplete) and end.recovered:
            self._progress.merge(end.cursor)
            self._events.emit(Recovered(count=end.count))
            self._follow(recovered=True)
            return
        self._progress.reset(self._head)
        self._events.emit(Gap(reason="SESSION_LOST", cursor=self._head))
        self._follow(recovered=False)
        if isinstance(end, ReplayComplete):
            self._progress.merge(end.cursor)

    def _tell(self, topic: str, end: ReplayComplete | NotificationError) -> None:
        """Tell of what a subscription asked for; who called `replay` has the result."""
        if isinstance(end, NotificationError):
            self._events.emit(Gap(reason="CONNECTION_LOST", topic=topic))
        elif end.recovered:
            self._events.emit(Recovered(count=end.count, topic=topic))
        else:
            reason = end.reason or "UNKNOWN"
            self._events.emit(Gap(reason=reason, topic=topic, cursor=end.cursor))
