"""What has arrived and is not handled yet, and how far in the log the client is.

Bound: messages, given by the application. Policy: at the bound the socket is not read on, so TCP
slows the server down, which closes with 4409 when its own buffer is full too; then the client
resumes. While an answer to a request is awaited the bound is passed, because a handler may be
waiting for that very answer.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from notifications.protocol.frames import Cursor, Metadata, Position
from notifications.protocol.values import Frame
from notifications.recovery.cursor import CursorTrack


class Message(Frame, frozen=True, kw_only=True, tag="message"):
    """A message as the application gets it: the `message` frame with its payload decoded.

    seq, position: None for an ephemeral message. replayed: True when it comes from a replay.
    """

    id: str
    topic: str
    payload: Any
    timestamp: str
    metadata: Metadata | None = None
    seq: int | None = None
    position: Position | None = None
    replayed: bool | None = None


EventKind = Literal["connected", "disconnected", "recovered", "gap", "unsubscribed", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is no message and that an application may want to know.

    text: for a person. data: for a program; a `gap` has `reason`.
    """

    kind: EventKind
    text: str
    data: dict[str, Any] = field(default_factory=dict)


def cursor_of(track: CursorTrack) -> Cursor | None:
    """Return where a track stands, in the wire's form; None before the server told a cursor."""
    here = track.snapshot()
    return None if here is None else Cursor(epoch=here[0], offsets=here[1])


@dataclass(frozen=True, slots=True)
class _Move:
    """A cursor between messages: it counts when the messages before it have been handled."""

    cursor: Cursor
    backwards_too: bool

    def apply(self, track: CursorTrack) -> None:
        move = track.reset if self.backwards_too else track.merge
        move(self.cursor.epoch, self.cursor.offsets)


class Inbox:
    """Messages in order of arrival, for one consumer.

    received: how far the client has read; a reconnect resumes here, since what waits in the inbox
    is not lost with the connection. handled: how far the application is.
    """

    def __init__(self, bound: int) -> None:
        self.received = CursorTrack()
        self.handled = CursorTrack()
        self.resuming = False
        self.changed = asyncio.Event()
        self._bound = bound
        self._items: deque[Message | _Move] = deque()
        self._current: Message | None = None
        self._arrived = asyncio.Event()
        self._ended: Exception | None = None

    @property
    def is_full(self) -> bool:
        """Tell whether no more should be read from the socket."""
        return len(self._items) >= self._bound and self._ended is None

    def put(self, message: Message) -> None:
        """Take in a message, unless it was taken in before."""
        if message.position is not None:
            # What a request for a replay brings is wanted even where it was seen already.
            asked_for = message.replayed is True and not self.resuming
            if not asked_for and self.received.covers(message.position):
                return
            self.received.advance(message.position)
        self._items.append(message)
        self._arrived.set()

    def move(self, cursor: Cursor, *, backwards_too: bool = False) -> None:
        """Take in a cursor from the server; `backwards_too` sets it, otherwise it is merged."""
        move = _Move(cursor, backwards_too)
        move.apply(self.received)
        if self._items or self._current is not None:
            self._items.append(move)
        else:
            move.apply(self.handled)

    def end(self, error: Exception) -> None:
        """Let the consumer have what waits, then raise `error` to it."""
        self._ended = error
        self._arrived.set()
        self.changed.set()

    async def next(self) -> Message:
        """Return the next message; asking for it says that the one before is handled."""
        if self._current is not None and self._current.position is not None:
            self.handled.advance(self._current.position)
        self._current = None
        while True:
            while self._items:
                item = self._items.popleft()
                self.changed.set()
                if isinstance(item, Message):
                    self._current = item
                    return item
                item.apply(self.handled)
            if self._ended is not None:
                raise self._ended
            self._arrived.clear()
            await self._arrived.wait()
