"""Moves the cursor once the handlers of all earlier frames have finished.

Two marks. *Seen* moves as frames arrive and drops what comes twice. The *cursor* moves after the
handlers, in the order of the frames, and is what a resume asks from: a message whose handler was
cut off by a crash comes again.
"""

from collections.abc import Callable

from bellwether_client.cursor import Cursor, CursorTrack, Position


class Place(CursorTrack):
    """How far handlers are in a replay, which was not of what lies behind the cursor.

    running: how many of its messages have not been handled.
    """

    __slots__ = ("running",)

    def __init__(self, cursor: Cursor) -> None:
        super().__init__()
        self.reset(cursor)
        self.running = 0

    def take(self, position: Position, step: "Step") -> None:
        """Move past a message of the replay once its step has settled."""

        def handled() -> None:
            self.running -= 1
            self.advance(position)

        self.running += 1
        step.then = handled


class Step:
    """A frame whose handlers have not all settled. after: where the cursor goes right behind it.
    then: called once they have.

    What settles out of turn is folded into the step before, so only unsettled frames are kept.
    """

    __slots__ = ("_progress", "after", "earlier", "later", "pending", "then")

    def __init__(self, progress: "Progress | None", pending: int) -> None:
        self._progress = progress
        self.pending = pending
        self.after: dict[int, int] = {}
        self.earlier: Step | None = None
        self.later: Step | None = None
        self.then: Callable[[], None] | None = None

    def add(self, count: int) -> None:
        """Wait for so many more."""
        self.pending += count

    def settle(self) -> None:
        """Note that one of those that it waits for has finished."""
        self.pending -= 1
        if self.pending > 0:
            return
        if self.then is not None:
            self.then()  # before the cursor moves, with which it is kept
        if self._progress is not None:
            self._progress.finish(self)

    def forget(self) -> None:
        """Move nothing any more."""
        self._progress = None


class Progress:
    """Bound: the steps are the messages that wait or run, which the client bounds.

    moved: called when the cursor has.
    """

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self._moved = moved
        self._cursor = CursorTrack()
        self._seen = CursorTrack()
        self._head: Step | None = None
        self._tail: Step | None = None

    @property
    def epoch(self) -> str | None:
        """The life of the log in which it stands."""
        return self._cursor.epoch

    def cursor(self) -> Cursor | None:
        """Return how far the handlers are; None before a server told where it begins."""
        return self._cursor.snapshot()

    def seen(self) -> CursorTrack:
        """Return a copy of what has arrived."""
        return self._seen.copy()

    def reset(self, cursor: Cursor) -> None:
        """Start from a cursor; what runs still no longer counts."""
        self._cursor.reset(cursor)
        self._seen.reset(cursor)
        self._forget()
        self._moved()

    def abandon(self) -> None:
        """Forget what has arrived and is not handled: it will come again."""
        self._forget()
        self._seen = self._cursor.copy()

    def has_seen(self, position: Position) -> bool:
        """Tell whether a message arrived before."""
        return self._seen.covers(position)

    def saw(self, position: Position) -> None:
        """Note that a message has arrived."""
        self._seen.advance(position)

    def begin(self, position: Position | None, pending: int) -> Step:
        """Take a message for so many handlers. An ephemeral one holds others back all the same."""
        step = Step(self, pending)
        if position is not None:
            step.after[position[0]] = position[1]
        step.earlier = self._tail
        if self._tail is None:
            self._head = step
        else:
            self._tail.later = step
        self._tail = step
        return step

    def passed(self, position: Position) -> None:
        """Take a message that nobody here wants."""
        if self._tail is None:
            self._cursor.advance(position)
            self._moved()
        else:
            _raise(self._tail.after, position)

    def merge(self, cursor: Cursor) -> None:
        """Take what the server says lies behind us; nothing at or before it is still to come."""
        if cursor.epoch != self._cursor.epoch:
            self.reset(cursor)  # offsets of another life of the log compare with nothing
            return
        self._seen.merge(cursor)
        if self._tail is None:
            self._cursor.merge(cursor)
            self._moved()
            return
        for partition, offset in cursor.offsets.items():
            _raise(self._tail.after, (int(partition), offset))

    def finish(self, step: Step) -> None:
        """Move past a step that has settled, or let the one before it do that."""
        earlier, later = step.earlier, step.later
        if earlier is None:
            self._head = later
            for place in step.after.items():
                self._cursor.advance(place)
            self._moved()
        else:
            earlier.later = later
            for place in step.after.items():
                _raise(earlier.after, place)
        if later is None:
            self._tail = earlier
        else:
            later.earlier = earlier
        step.earlier = step.later = None

    def _forget(self) -> None:
        step = self._head
        while step is not None:
            step.forget()
            step = step.later
        self._head = self._tail = None


def _raise(offsets: dict[int, int], position: Position) -> None:
    partition, offset = position
    if offset > offsets.get(partition, -1):
        offsets[partition] = offset
