"""One channel per server process, in the groups of the partitions that the process follows.

The channel layer is a hint that may fail in every way: nothing here is needed for correctness, so
no failure leaves this room. What is lost is found by the hub, which compares itself with the log.

The queue of hints to send is bounded in number (`SEND_BOUND`) and bytes (`SEND_BYTES`); over
either the oldest is dropped. When the layer fails, or hangs for `SEND_TIMEOUT`, all that waited is
dropped: receivers have read it from the log by the time the layer works again. Metrics:
bellwether_hints_waiting, bellwether_hints_dropped.

What only the bus carries (ephemeral messages) should not be taken from publishers while it
`is_behind`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import structlog

from notifications import metrics
from notifications.bus import hints as hints_module
from notifications.bus.hints import (
    ALL_PARTITIONS,
    Hint,
    from_envelope,
    group_of,
    hints_in,
    take_envelope,
)
from notifications.log.records import Record, decode_records
from notifications.stopping import stop_tasks

SEND_BOUND = 1_000
"""Hints that may wait for the channel layer."""

SEND_BYTES = 16 * 1024 * 1024
"""Bytes of hints that may wait for the channel layer."""

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
        self._followed: set[int] = set()
        self._to_send: deque[Hint] = deque()
        self._bytes_to_send = 0
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
        await stop_tasks(self._tasks)
        for group in list(self._joined):
            await self._leave(group)

    async def follow(self, partition: int) -> None:
        """Join a partition's group; when the layer fails, join it as soon as it works again."""
        self._followed.add(partition)
        for group in (group_of(partition), ALL_PARTITIONS):
            self._groups.add(group)
            if group not in self._joined:
                await self._join(group)

    async def unfollow(self, partition: int) -> None:
        """Leave a partition's group."""
        self._followed.discard(partition)
        for group in (group_of(partition), ALL_PARTITIONS):
            # Looked at before each: another task may follow again while the layer is awaited.
            if not self._needs(group):
                self._groups.discard(group)
                await self._leave(group)

    def _needs(self, group: str) -> bool:
        if group == ALL_PARTITIONS:
            return bool(self._followed)
        return group in map(group_of, self._followed)

    def announce(self, hints: Iterable[Hint]) -> None:
        """Queue hints for the other processes and this one; call in the event loop."""
        for hint in hints:
            self._to_send.append(hint)
            self._bytes_to_send += len(hint.records)
        while len(self._to_send) > SEND_BOUND or self._bytes_to_send > SEND_BYTES:
            self._bytes_to_send -= len(self._to_send.popleft().records)
            metrics.hints_dropped.inc()
        metrics.hints_waiting.set(len(self._to_send))
        self._wake.set()

    @property
    def is_behind(self) -> bool:
        """Tell whether the layer fails, or takes less than it is given."""
        return (
            not self.healthy
            or len(self._to_send) > SEND_BOUND // 2
            or self._bytes_to_send > SEND_BYTES // 2
        )

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
                group, envelope, hints = take_envelope(self._to_send)
                self._bytes_to_send -= sum(len(hint.records) for hint in hints)
                if await self._call(self._layer.group_send(group, envelope)):
                    metrics.hints_sent.inc(len(hints))
                else:
                    metrics.hints_dropped.inc(len(hints) + len(self._to_send))
                    self._to_send.clear()
                    self._bytes_to_send = 0
                metrics.hints_waiting.set(len(self._to_send))

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
            match message.get("type"):
                case hints_module.BUNDLE:
                    hints = hints_in(message)
                case hints_module.EPHEMERAL:
                    self._on_ephemeral(decode_records(message["records"]))
                    return
                case _:
                    hints = [from_envelope(message)]
            for hint in hints:
                self._take(hint)
        except msgspec.MsgspecError as error:
            logger.warning("the bus brought something that is no hint", error=str(error))

    def _take(self, hint: Hint) -> None:
        if hint.partition not in self._followed:
            return  # it came in a bundle, with others that are
        if hint.last == 0:
            self._on_ephemeral(decode_records(hint.records))
            return
        metrics.hints_received.inc()
        self._on_hint(hint)

    async def _rejoin_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        confirmed_at = loop.time()
        while True:
            await asyncio.sleep(RETRY_PAUSE)
            await self._open()
            if not self.healthy:
                # Where nobody publishes, nothing else would find that the layer works again.
                await self.send_control({})
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
