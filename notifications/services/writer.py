"""The group commit of this process, and what its commits are relayed to.

A server process relays through its hub's bus. Any other process (a command, a Celery worker, a
Django that serves no sockets) relays with an event loop of its own in the writer thread; with the
in-process layer there is nobody to tell, and servers find the messages by looking at the log.
"""

import asyncio
import atexit
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache

import structlog
from channels.layers import InMemoryChannelLayer, get_channel_layer

from notifications import metrics
from notifications.bus import hints_of
from notifications.bus.hints import take_envelope
from notifications.log.creation import read_identity
from notifications.log.group_commit import GroupCommit, Relay
from notifications.log.records import Record

RELAY_TIMEOUT = 0.5
"""Seconds that the channel layer has for the hints of a group outside a server."""

RELAY_COOLDOWN = 5.0
"""Seconds without hints after the layer failed, so that publishing does not wait for it."""

EPOCH_KEPT = 5.0
"""Seconds for which a process outside a server believes to know the log's epoch; hints of another
are of no use."""

EXIT_TIMEOUT = 3.0
"""Seconds that a process waits at its end for what it handed in."""

logger = structlog.get_logger(__name__)


def writer() -> GroupCommit:
    """Return the group commit of this process."""
    return _writer_of(os.getpid())


def close_writer(timeout: float = EXIT_TIMEOUT) -> None:
    """Append and relay what was handed in, then let go of what that took."""
    writer().close(timeout)
    _own_loop_relay_of(os.getpid()).close()


@lru_cache(maxsize=1)
def _writer_of(pid: int) -> GroupCommit:
    commit = GroupCommit(_own_loop_relay_of(pid))
    metrics.append_queue.set_function(lambda: commit.queue.waiting)
    metrics.append_queue_bytes.set_function(lambda: commit.queue.waiting_bytes)
    atexit.register(close_writer)
    return commit


@lru_cache(maxsize=1)
def _own_loop_relay_of(pid: int) -> "_OwnLoopRelay":
    return _OwnLoopRelay()


def relay_through(relay: Relay, *, is_behind: Callable[[], bool] = lambda: False) -> None:
    """Relay this process's commits in another way: a server's, through its own event loop.

    is_behind: whether it cannot relay more now; any thread asks it.
    """
    writer().relay = relay
    writer().relay_is_behind = is_behind


def relay_by_own_loop() -> None:
    """Go back to relaying with an event loop of the writer's own."""
    relay_through(_own_loop_relay_of(os.getpid()))


class _OwnLoopRelay:
    """Relays from a process that has no server's event loop."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._not_before = 0.0
        self._epoch: tuple[str, float] | None = None

    def __call__(self, records: Sequence[Record]) -> None:
        layer = get_channel_layer()
        if layer is None or isinstance(layer, InMemoryChannelLayer):
            return
        if self._runner is None:
            self._runner = asyncio.Runner()
        if self._runner.get_loop().time() < self._not_before:
            metrics.hints_dropped.inc()
            return
        try:
            self._runner.run(self._send(layer, records, self._epoch_now()))
        except Exception as error:
            self._not_before = self._runner.get_loop().time() + RELAY_COOLDOWN
            logger.warning(
                "the channel layer fails; servers will read the log instead",
                error=f"{type(error).__name__}: {error}",
            )

    def close(self) -> None:
        """Close the event loop and, with it, the layer's connections; it may be used again."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def _epoch_now(self) -> str:
        """Return the log's epoch, which may change while this process lives."""
        now = time.monotonic()
        if self._epoch is None or now - self._epoch[1] > EPOCH_KEPT:
            self._epoch = read_identity().epoch, now
        return self._epoch[0]

    async def _send(
        self, layer: InMemoryChannelLayer, records: Sequence[Record], epoch: str
    ) -> None:
        async with asyncio.timeout(RELAY_TIMEOUT):
            waiting = deque(hints_of(records, epoch=epoch))
            while waiting:
                group, envelope, hints = take_envelope(waiting)
                await layer.group_send(group, envelope)
                metrics.hints_sent.inc(len(hints))
