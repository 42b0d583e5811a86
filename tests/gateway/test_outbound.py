"""From the buffer to the socket: order, pauses, windows, and who writes while one closes."""

import asyncio
from collections.abc import Callable

import pytest

from notifications.conf import conf
from notifications.gateway.outbound import WRITE_BYTES, AsgiOutbound, DirectOutbound
from notifications.hub.buffer import Buffer
from notifications.hub.encoded import Encoded, framed_array
from notifications.hub.flusher import Flusher
from notifications.topics.handling import Window

SOON, LATE = Window(3, 0.02), Window(3, 60.0)


class Wire:
    """A transport that pauses when it is told to."""

    last_received = 0.0

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.open = True
        self.kept = 0
        self.resume: Callable[[], None] = lambda: None
        self.block: Callable[[], None] = lambda: None

    def can_write(self) -> bool:
        return self.open

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def ping(self) -> None:
        self.written += b"ping"

    def unsent(self) -> int:
        return self.kept

    def watch(self, *, writable: Callable[[], None], blocked: Callable[[], None]) -> None:
        self.resume, self.block = writable, blocked

    def pause(self) -> None:
        self.open = False
        self.block()

    def go_on(self) -> None:
        self.open = True
        self.resume()

    def abort(self) -> None:
        self.open = False


class Line:
    """A wire, and what writes to it."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.flusher = Flusher(asyncio.get_running_loop())
        self.outbound = DirectOutbound(self.wire, self.flusher)
        self.buffer = Buffer(10 * WRITE_BYTES, wake=self.outbound.wake, overflow=lambda: None)
        self.outbound.start(self.buffer)

    def push(self, *texts: str, window: Window | None = None) -> None:
        for text in texts:
            self.buffer.push(Encoded(text.encode()), window)


def framed(*texts: str) -> bytes:
    return b"".join(Encoded(text.encode()).framed for text in texts)


def array(*texts: str) -> bytes:
    return framed_array([Encoded(text.encode()) for text in texts])


async def test_a_message_goes_out_at_once_when_nothing_waits() -> None:
    line = Line()
    line.push("a", "b")
    assert line.wire.written == framed("a", "b")
    assert len(line.buffer) == 0


async def test_a_paused_peer_gets_the_rest_in_one_write_when_it_reads_again() -> None:
    line = Line()
    line.wire.pause()
    line.push("a", "b", "c")
    await asyncio.sleep(0)
    assert line.wire.written == b""
    line.wire.go_on()
    assert (line.wire.written, line.wire.writes) == (framed("a", "b", "c"), 1)
    line.push("d")
    assert line.wire.written == framed("a", "b", "c", "d"), "at once again"


async def test_one_write_is_bounded() -> None:
    line = Line()
    line.wire.pause()
    line.push(*["x" * (WRITE_BYTES // 2)] * 5)
    line.wire.go_on()
    assert line.wire.writes == 3
    assert len(line.buffer) == 0


async def test_who_closes_is_not_overtaken() -> None:
    """While the closing side waits for the peer between two frames, a resume writes nothing."""
    line = Line()
    line.wire.pause()
    line.push("a", "b")
    await line.outbound.stop()
    first = line.buffer.pop()
    assert first is not None
    line.wire.go_on()
    line.push("c")
    assert line.wire.written == b""
    assert len(line.buffer) == 2


# --- Windows --------------------------------------------------------------------------------------


async def test_a_window_ends_with_its_delay() -> None:
    line = Line()
    line.push("a", "b", window=SOON)
    await asyncio.sleep(0)
    assert line.wire.written == b""
    async with asyncio.timeout(10):
        while not line.wire.written:
            await asyncio.sleep(0.005)
    assert (line.wire.written, line.wire.writes) == (framed("a", "b"), 1)
    line.push("c")
    assert line.wire.written == framed("a", "b", "c"), "at once again"


async def test_a_full_window_ends() -> None:
    line = Line()
    line.push("a", "b", window=LATE)
    await asyncio.sleep(0)
    assert line.wire.written == b""
    line.push("c", window=LATE)
    await asyncio.sleep(0)
    assert (line.wire.written, line.wire.writes) == (framed("a", "b", "c"), 1)


async def test_what_does_not_wait_takes_along_what_waits_and_keeps_the_order() -> None:
    line = Line()
    line.push("a", window=LATE)
    line.push("urgent")
    line.push("b", window=LATE)
    await asyncio.sleep(0)
    assert (line.wire.written, line.wire.writes) == (framed("a", "urgent", "b"), 1)
    assert line.outbound.tick == 0, "nothing is planned any more"


async def test_the_earlier_end_counts_and_one_connection_has_one_plan() -> None:
    line = Line()
    for _ in range(100):
        line.buffer.push(Encoded(b"a"), Window(1_000, 60.0))
    line.push("b", window=Window(1_000, 0.01))
    assert sum(len(bucket) for bucket in line.flusher._later.values()) == 1
    async with asyncio.timeout(10):
        while not line.wire.written:
            await asyncio.sleep(0.005)
    assert line.wire.written == framed(*"a" * 100, "b")


async def test_who_is_gone_is_planned_no_more() -> None:
    line = Line()
    line.push("a", window=LATE)
    await line.outbound.stop()
    assert not any(line.flusher._later.values())


async def test_a_flush_that_fails_stops_no_other() -> None:
    first, second = Line(), Line()

    def fail(data: bytes) -> None:
        raise RuntimeError("broken")

    first.wire.write = fail  # type: ignore[method-assign]
    for line in (first, second):
        line.push("a", window=SOON)
    async with asyncio.timeout(10):
        while not second.wire.written:
            await asyncio.sleep(0.005)


# --- Arrays ---------------------------------------------------------------------------------------


async def test_what_waited_goes_out_in_arrays_to_who_takes_them() -> None:
    line = Line()
    line.buffer.arrays = 3
    line.wire.pause()
    line.push(*"1234567")
    line.wire.go_on()
    assert line.wire.written == array("1", "2", "3") + array("4", "5", "6") + framed("7")
    assert array("1", "2") == b"\x81\x05[1,2]"


async def test_an_array_is_bounded_in_bytes() -> None:
    line = Line()
    line.buffer.arrays = 100
    line.wire.pause()
    big = '"' + "x" * 30_000 + '"'
    line.push(big, big, big, '"small"')
    line.wire.go_on()
    assert line.wire.written == array(big, big) + array(big, '"small"')


# --- Peers that do not read -----------------------------------------------------------------------


async def test_who_reads_nothing_is_stuck_after_a_while_and_who_reads_a_little_is_not() -> None:
    line = Line()
    assert not line.outbound.is_stuck(0.0)
    line.wire.pause()
    line.wire.kept = 1_000
    deadline = conf().write_timeout
    assert not line.outbound.is_stuck(0.0)
    assert not line.outbound.is_stuck(deadline)
    line.wire.kept = 900
    assert not line.outbound.is_stuck(deadline + 1)
    assert not line.outbound.is_stuck(2 * deadline)
    assert line.outbound.is_stuck(2 * deadline + 2)
    line.wire.go_on()
    assert not line.outbound.is_stuck(2 * deadline + 3)


# --- Over plain ASGI ------------------------------------------------------------------------------


class Asgi:
    """A server whose `send` waits while it is told to."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[str] = []
        self.going = asyncio.Event()
        self.going.set()
        self.outbound = AsgiOutbound(self._send, Flusher(loop), loop)
        self.buffer = Buffer(10**6, wake=self.outbound.wake, overflow=lambda: None)
        self.outbound.start(self.buffer)

    async def _send(self, event: dict[str, str]) -> None:
        await self.going.wait()
        self.events.append(event["text"])

    async def until(self, *events: str) -> None:
        async with asyncio.timeout(10):
            while self.events != list(events):
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("arrays", "events"),
    [(1, ["1", "2", "3", "4"]), (3, ["1", "[2,3,4]"]), (2, ["1", "[2,3]", "4"])],
)
async def test_asgi_sends_the_same_in_the_same_order(arrays: int, events: list[str]) -> None:
    asgi = Asgi()
    asgi.buffer.arrays = arrays
    asgi.going.clear()
    asgi.buffer.push(Encoded(b"1"))
    await asyncio.sleep(0.01)
    for text in (b"2", b"3", b"4"):
        asgi.buffer.push(Encoded(text))
    loop = asyncio.get_running_loop()
    assert not asgi.outbound.is_stuck(loop.time())
    assert asgi.outbound.is_stuck(loop.time() + conf().write_timeout + 1)
    asgi.going.set()
    await asgi.until(*events)
    await asgi.outbound.stop()


async def test_asgi_keeps_windows_too() -> None:
    asgi = Asgi()
    asgi.buffer.arrays = 10
    asgi.buffer.push(Encoded(b"1"), LATE)
    asgi.buffer.push(Encoded(b"2"), LATE)
    await asyncio.sleep(0.02)
    assert asgi.events == []
    asgi.buffer.push(Encoded(b"3"), LATE)
    await asgi.until("[1,2,3]")
    asgi.buffer.push(Encoded(b"4"), SOON)
    await asgi.until("[1,2,3]", "4")
    await asgi.outbound.stop()


async def test_asgi_repeats_nothing_when_it_is_stopped_while_it_sends() -> None:
    asgi = Asgi()
    asgi.going.clear()
    asgi.buffer.push(Encoded(b"1"))
    asgi.buffer.push(Encoded(b"2"))
    await asyncio.sleep(0.01)
    await asgi.outbound.stop()
    assert [frame.data for frame in iter(asgi.buffer.pop, None)] == [b"1", b"2"]
