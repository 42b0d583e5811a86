"""Publishes on their way: waiting for a connection, or sent and not yet answered."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bellwether_client.config import QueueConfig
from bellwether_client.errors import NotificationError
from bellwether_client.frames import Published
from bellwether_client.messages import PublishedMessage
from bellwether_client.requests import Expected, Reply, Requests, ask_again_after
from bellwether_client.sendable import Sendable
from bellwether_client.tasks import Timers
from bellwether_client.topics import topic_problem

WINDOW = 64
"""Sent and unanswered at once: as many as the server takes in."""


@dataclass(slots=True, eq=False)
class _Parcel:
    """data: the frame, encoded once, so a payload that changes later does not change it.

    was_sent: it goes first on the next connection, and counts to no bound.
    """

    id: int
    data: str | bytes
    queued_at: float
    answer: asyncio.Future[PublishedMessage]
    was_sent: bool = False


class Outbox:
    """Bound: `max_size` waiting and WINDOW sent. Policy: `overflow_strategy`, and `max_age` for
    those that wait. Order: first in, first out. Metric: `published`, and what the callers get.

    elapsed: milliseconds on a clock that nobody sets.
    """

    def __init__(
        self,
        config: QueueConfig,
        *,
        sendable: Sendable,
        requests: Requests,
        send: Callable[[str | bytes], None],
        timers: Timers,
        elapsed: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self.published = 0
        self._config = config
        self._sendable = sendable
        self._requests = requests
        self._send = send
        self._timers = timers
        self._elapsed = elapsed
        self._new_id = new_id
        self._unanswered: deque[_Parcel] = deque()  # of an earlier connection, or refused for now
        self._waiting: deque[_Parcel] = deque()
        self._sent: dict[int, _Parcel] = {}
        self._is_online = False
        self._pause: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def publish(
        self, topic: str, payload: Any, metadata: dict[str, Any], idempotency_key: str | None
    ) -> "asyncio.Future[PublishedMessage]":
        """Send a message, or let it wait; raises NotificationError for what cannot be sent."""
        request_id = self._requests.new_id()
        data = self._encode(request_id, topic, payload, metadata, idempotency_key)
        has_room = self._can_send() and not self._unanswered and not self._waiting
        is_full = not has_room and len(self._waiting) >= self._config.max_size
        if is_full and self._config.overflow_strategy == "reject":
            raise NotificationError("QUEUE_FULL", self._full(), temporary=True)
        answer: asyncio.Future[PublishedMessage] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Parcel(request_id, data, self._elapsed(), answer))
        self._flush()
        self._bound()
        self._watch_age()
        return answer

    def withdraw(self, answer: "asyncio.Future[PublishedMessage]") -> None:
        """Forget a publish that nobody awaits any more, unless it was sent."""
        self._waiting = deque(one for one in self._waiting if one.answer is not answer)

    def resume(self) -> None:
        """Begin on a connection whose subscriptions are restored."""
        self._is_online = True
        self._flush()
        self._watch_age()

    def suspend(self) -> None:
        """Note that the connection is gone: what it did not answer goes first on the next."""
        self._is_online = False
        self._timers.cancel(self._pause)
        self._pause = None
        self._put_back(self._sent.values())
        self._sent.clear()
        self._watch_age()

    def watch(self) -> None:
        """See to the age of what waits, all timers having been stopped."""
        self._watch_age()

    def abandon(self, error: Exception) -> None:
        """Reject everything: no connection will follow."""
        everything = [*self._unanswered, *self._waiting, *self._sent.values()]
        self._unanswered.clear()
        self._waiting.clear()
        self._sent.clear()
        self._watch_age()
        for parcel in everything:
            _reject(parcel, error)

    def _encode(
        self,
        request_id: int,
        topic: str,
        payload: Any,
        metadata: dict[str, Any],
        idempotency_key: str | None,
    ) -> str | bytes:
        problem = topic_problem(topic)
        if problem is not None:
            raise NotificationError("BAD_TOPIC", problem)
        frame = {"type": "publish", "id": request_id, "topic": topic, "payload": payload}
        if metadata:
            frame["metadata"] = metadata
        frame["idempotencyKey"] = self._new_id() if idempotency_key is None else idempotency_key
        return self._sendable.encode(frame)

    def _can_send(self) -> bool:
        return self._is_online and self._pause is None and len(self._sent) < WINDOW

    def _flush(self) -> None:
        while self._can_send():
            if self._unanswered:
                self._dispatch(self._unanswered.popleft())
            elif self._waiting:
                self._dispatch(self._waiting.popleft())
            else:
                return

    def _dispatch(self, parcel: _Parcel) -> None:
        parcel.was_sent = True
        self._sent[parcel.id] = parcel

        def ok(reply: Reply) -> None:
            if isinstance(reply, Published):
                self._sent.pop(parcel.id, None)
                self.published += 1
                if not parcel.answer.done():
                    parcel.answer.set_result(_published(reply))
                self._flush()

        def refused(error: NotificationError) -> None:
            self._sent.pop(parcel.id, None)
            if error.temporary:
                self._put_back([parcel])
                self._hold(ask_again_after(error))
            else:
                _reject(parcel, error)
            self._flush()

        # When the connection is lost, suspend() puts it back.
        self._requests.expect(parcel.id, Expected(ok, refused, lambda: None))
        self._send(parcel.data)

    def _put_back(self, parcels: Iterable[_Parcel]) -> None:
        everything = sorted([*self._unanswered, *parcels], key=lambda parcel: parcel.id)
        self._unanswered = deque(everything)

    def _hold(self, delay: float) -> None:
        """Send nothing for so many milliseconds."""
        self._timers.cancel(self._pause)
        self._pause = self._timers.after(delay, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._flush()

    def _bound(self) -> None:
        """Let go what is over the bound; `reject` has looked before."""
        while len(self._waiting) > self._config.max_size:
            is_oldest = self._config.overflow_strategy == "drop-oldest"
            parcel = self._waiting.popleft() if is_oldest else self._waiting.pop()
            _reject(parcel, NotificationError("DROPPED", self._full(), temporary=True))

    def _full(self) -> str:
        text = "More than {} publishes wait {}. Await some before you make more."
        what = "for the server's answers" if self._is_online else "for a connection"
        return text.format(self._config.max_size, what)

    def _watch_age(self) -> None:
        """Reject what waits too long, and look again when the next one is due."""
        self._timers.cancel(self._expiry)
        self._expiry = None
        now, due = self._elapsed(), []
        # On a connection what was sent has its answer to come.
        for queue in (self._waiting,) if self._is_online else (self._unanswered, self._waiting):
            while queue and now - queue[0].queued_at >= self._config.max_age:
                text = "The publish waited too long to be sent. Publish it again."
                _reject(queue.popleft(), NotificationError("EXPIRED", text, temporary=True))
            if queue:
                due.append(queue[0].queued_at + self._config.max_age - now)
        if due:
            self._expiry = self._timers.after(min(due), self._watch_age)


def _reject(parcel: _Parcel, error: Exception) -> None:
    if not parcel.answer.done():
        parcel.answer.set_exception(error)


def _published(frame: Published) -> PublishedMessage:
    return PublishedMessage(
        id=frame.message_id,
        topic=frame.topic,
        timestamp=frame.timestamp,
        seq=frame.seq,
        position=frame.position,
        duplicate=frame.duplicate,
    )
