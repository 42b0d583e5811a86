"""One channel per server process, in the groups of the partitions that the process follows.

The channel layer is a hint that may fail in every way: nothing here is needed for correctness, so
no failure leaves this room. What is lost is found by the hub, which compares itself with the log.

The queue of hints to send is bounded (`SEND_BOUND`); over it the oldest is dropped and counted
(bellwether_hints_dropped): receivers read what it carried from the log.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import structlog

from notifications import metrics
from notifications.bus.hints import EPHEMERAL, Hint, from_envelope, to_envelope
from notifications.log.records import Record, decode_records

SEND_BOUND = 1_000
"""Hints that may wait for the channel layer."""

SEND_TIMEOUT = 1.0
"""Seconds that the layer has for one call."""

RETRY_PAUSE = 1.0
"""Seconds between attempts to receive from, or to join a group of, a layer that fails."""

CONFIRM_INTERVAL = 30.0
"""Seconds between two confirmations of all memberships."""

CONTROL_GROUP = "bellwether.control"

logger = structlog.get_logger(__name__)


class ChannelLayer(Protocol):
    """What the bus uses of a Channels layer."""

    async def new_channel(self, prefix: str = ...) -> str: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


def group_of(partition: int) -> str:
    """Name the group of a partition."""
    return f"bellwether.partition.{partition}"


class Bus:
    """The channel layer of this process.

    on_hint: called in the event loop with each hint that arrives.
    on_control: called with each control message (a JSON object) that arrives.
    on_ephemeral: called with the ephemeral messages that arrive, in their order.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        *,
        on_hint: Callable[[Hint], None],
        on_control: Callable[[dict[str, Any]], None],
        on_ephemeral: Callable[[list[Record]], None] = lambda _: None,
    ) -> None:
        self._layer = layer
        self._on_hint = on_hint
        self._on_control = on_control
        self._on_ephemeral = on_ephemeral
        self._channel = ""
        self._groups: set[str] = {CONTROL_GROUP}
        self._joined: set[str] = set()
        self._to_send: deque[Hint] = deque()
        self._wake = asyncio.Event()
        self._opened = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.healthy = True

    async def start(self) -> None:
        """Open the channel of this process and begin to receive and to send.

        Returns also when the layer does not work: it is then opened as soon as it does.
        """
        await self._open()
        self._tasks = [
            asyncio.create_task(self._receive_for_ever(), name="bus-receive"),
            asyncio.create_task(self._send_for_ever(), name="bus-send"),
            asyncio.create_task(self._rejoin_for_ever(), name="bus-rejoin"),
        ]

    async def stop(self) -> None:
        """Leave all groups and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for group in list(self._joined):
            await self._leave(group)

    async def follow(self, partition: int) -> None:
        """Join a partition's group; when the layer fails, join it as soon as it works again."""
        group = group_of(partition)
        self._groups.add(group)
        await self._join(group)

    async def unfollow(self, partition: int) -> None:
        """Leave a partition's group."""
        group = group_of(partition)
        self._groups.discard(group)
        await self._leave(group)

    def announce(self, hints: Iterable[Hint]) -> None:
        """Queue hints for the other processes and this one; call in the event loop."""
        for hint in hints:
            if len(self._to_send) >= SEND_BOUND:
                self._to_send.popleft()
                metrics.hints_dropped.inc()
            self._to_send.append(hint)
        self._wake.set()

    async def send_control(self, message: dict[str, Any]) -> None:
        """Tell every server process something, once, as far as the layer works."""
        await self._call(
            self._layer.group_send(CONTROL_GROUP, {"type": "control", "control": message})
        )

    async def _send_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._to_send:
                hint = self._to_send.popleft()
                sent = await self._call(
                    self._layer.group_send(group_of(hint.partition), to_envelope(hint))
                )
                (metrics.hints_sent if sent else metrics.hints_dropped).inc()

    async def _open(self) -> None:
        if not self._channel:
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    self._channel = await self._layer.new_channel("server")
            except Exception as error:
                self._fails("open", error)
                return
            self._opened.set()
        for group in self._groups - self._joined:
            await self._join(group)

    async def _receive_for_ever(self) -> None:
        await self._opened.wait()
        while True:
            try:
                message = await self._layer.receive(self._channel)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._fails("receive", error)
                await asyncio.sleep(RETRY_PAUSE)
                continue
            try:
                self._dispatch(message)
            except Exception:
                logger.exception("a bus message could not be handled")

    def _dispatch(self, message: dict[str, Any]) -> None:
        if message.get("type") == "control":
            self._on_control(message["control"])
            return
        try:
            if message.get("type") == EPHEMERAL:
                self._on_ephemeral(decode_records(message["records"]))
                return
            hint = from_envelope(message)
        except msgspec.ValidationError as error:
            logger.warning("the bus brought something that is no hint", error=str(error))
            return
        metrics.hints_received.inc()
        self._on_hint(hint)

    async def _rejoin_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        confirmed_at = loop.time()
        while True:
            await asyncio.sleep(RETRY_PAUSE)
            await self._open()
            if loop.time() - confirmed_at >= CONFIRM_INTERVAL:
                # A layer may have dropped us silently; joining again costs nothing where not.
                confirmed_at = loop.time()
                for group in list(self._groups):
                    await self._join(group)

    async def _join(self, group: str) -> None:
        if self._channel and await self._call(self._layer.group_add(group, self._channel)):
            self._joined.add(group)

    async def _leave(self, group: str) -> None:
        if group not in self._joined:
            return
        self._joined.discard(group)
        await self._call(self._layer.group_discard(group, self._channel))

    async def _call(self, call: Any) -> bool:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await call
        except Exception as error:
            self._fails("send", error)
            return False
        if not self.healthy:
            self.healthy = True
            logger.info("the channel layer works again")
        return True

    def _fails(self, what: str, error: Exception) -> None:
        if self.healthy:
            self.healthy = False
            logger.warning(
                "the channel layer fails; deliveries go on by reading the log",
                what=what,
                error=f"{type(error).__name__}: {error}",
            )
