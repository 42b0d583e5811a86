"""Keeps the state of a client in its storage, so that a restart resumes where handlers were."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from bellwether_client import fields
from bellwether_client.cursor import Cursor
from bellwether_client.fields import Unreadable
from bellwether_client.storage import Storage
from bellwether_client.tasks import Tasks, Timers

VERSION = 1

CURSOR_EVERY = 250.0
"""Milliseconds between two writes where only the cursor moved."""

DEADLINE = 10.0
"""Seconds that a storage may take; then it has failed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredSubscription:
    """A subscription that was confirmed. options: as `subscribe` carries them."""

    topic: str
    options: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredState:
    """What is kept."""

    client_id: str
    session_id: str | None
    cursor: Cursor | None
    subscriptions: tuple[StoredSubscription, ...]


class StateKeeper:
    """Writes the state when it changed. One write at a time; a storage that fails is done without.

    state: makes what is to be kept; None: nothing yet. failed: told of the first failure.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        key: str,
        tasks: Tasks,
        timers: Timers,
        state: Callable[[], StoredState | None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._storage = storage
        self._key = key
        self._tasks = tasks
        self._timers = timers
        self._state = state
        self._failed = failed
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self._is_writing = False
        self._is_dirty = False
        self._has_failed = False

    async def load(self) -> StoredState | None:
        """Return what was kept; None where there is nothing of use."""
        try:
            text = await _in_time(self._storage.get(self._key))
            return None if text is None else _read(text)
        except Exception as error:
            self._fail(error)
            return None

    def changed(self) -> None:
        """Keep the state now."""
        if self._has_failed:
            return
        self._timers.cancel(self._timer)
        self._timer = None
        self._is_dirty = True
        if (self._writer is None or self._writer.done()) and _has_loop():
            self._writer = self._tasks.start(self._write(), "state")

    def moved(self) -> None:
        """Keep the state soon: only the cursor moved."""
        if self._timer is None and not self._has_failed:
            self._timer = self._timers.after(CURSOR_EVERY, self._due)

    async def finish(self) -> None:
        """Write the last state, after all that is being written."""
        self._timers.cancel(self._timer)
        self._timer = None
        if not self._has_failed and self._state() is not None:
            self._is_dirty = True
            await self._write()

    def _due(self) -> None:
        self._timer = None
        self.changed()

    async def _write(self) -> None:
        if self._is_writing:
            return  # whoever writes sees that it is dirty
        self._is_writing = True
        try:
            while self._is_dirty:
                self._is_dirty = False
                state = self._state()
                if state is not None:
                    await _in_time(self._storage.set(self._key, _text_of(state)))
        except Exception as error:
            self._fail(error)
        finally:
            self._is_writing = False

    def _fail(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._failed(error)


async def _in_time(answer: Awaitable[T]) -> T:
    """Await a storage; raises TimeoutError after DEADLINE."""
    try:
        async with asyncio.timeout(DEADLINE) as timeout:
            return await answer
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise TimeoutError(f"The storage did not answer in {DEADLINE:.0f} s.") from error


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False  # subscribed before there is an event loop: written when connected
    return True


def _text_of(state: StoredState) -> str:
    value: dict[str, Any] = {"version": VERSION, "clientId": state.client_id}
    if state.session_id is not None:
        value["sessionId"] = state.session_id
    if state.cursor is not None:
        value["cursor"] = state.cursor.to_wire()
    value["subscriptions"] = [
        {"topic": one.topic, "options": one.options, "createdAt": _instant_of(one.created_at)}
        for one in state.subscriptions
    ]
    return json.dumps(value, separators=(",", ":"))


def _instant_of(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read(text: str) -> StoredState | None:
    """Read a state; None for one of another version. Raises ValueError for what is none."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise Unreadable("the state is no object")
        if value.get("version") != VERSION:
            return None
        return StoredState(
            client_id=fields.text(value, "clientId"),
            session_id=fields.optional(value, "sessionId", fields.text),
            cursor=fields.optional(value, "cursor", fields.cursor),
            subscriptions=tuple(_subscription(one) for one in fields.items(value, "subscriptions")),
        )
    except Unreadable as error:
        raise ValueError(f"The stored state cannot be read: {error}") from error


def _subscription(value: object) -> StoredSubscription:
    if not isinstance(value, dict):
        raise Unreadable("a subscription is no object")
    return StoredSubscription(
        fields.text(value, "topic"),
        fields.mapping(value, "options"),
        fields.instant(value, "createdAt"),
    )
