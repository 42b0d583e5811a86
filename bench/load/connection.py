"""One subscriber's socket: first the opening, then the counting."""

import asyncio
from collections.abc import Mapping
from typing import cast

from bench.load import upgrade
from bench.load.dialects import Memory, Speaker
from bench.load.frames import Frame, Opcode, encode, split
from bench.load.tally import Tally
from bench.machine.clock import stamp


class Subscriber(asyncio.Protocol):
    """Counts the messages of one connection and answers its pings.

    count, stamp_sum: how many messages came, and the sum of their stamps. Together they tell
    "each message once" from "one twice and another never", and cost no set per connection.
    replies: what to answer to which message of the server.
    index, memory: who this client is, and what it needs to come back; None where nothing can be
    resumed.
    """

    __slots__ = (
        "_replies",
        "_rest",
        "_tally",
        "_transport",
        "count",
        "index",
        "lost",
        "memory",
        "stamp_sum",
    )

    def __init__(
        self,
        tally: Tally,
        transport: asyncio.Transport,
        rest: bytes,
        *,
        index: int = 0,
        memory: Memory | None = None,
        replies: Mapping[bytes, bytes] = {},
    ) -> None:
        self._tally = tally
        self._transport = transport
        self._rest = rest
        self._replies = replies
        self.index = index
        self.memory = memory
        self.count = 0
        self.stamp_sum = 0
        self.lost = False

    def data_received(self, data: bytes) -> None:
        """Count what arrived."""
        batch = self._tally.read(self._rest + data if self._rest else data, stamp())
        self.count += len(batch.stamps)
        self.stamp_sum += batch.stamp_sum
        self._rest = batch.rest
        if batch.others:
            self._answer(batch.others)

    def _answer(self, frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            if frame.opcode is Opcode.PING:
                self._transport.write(encode(Opcode.PONG, frame.payload))
            elif frame.opcode is Opcode.CLOSE:
                self._transport.close()
            elif frame.payload in self._replies:
                self._transport.write(encode(Opcode.TEXT, self._replies[frame.payload]))
            else:
                self._tally.answered(frame.payload)

    def say(self, text: bytes | None) -> None:
        """Send a text, or a PING of the WebSocket when it is None."""
        opcode = Opcode.PING if text is None else Opcode.TEXT
        self._transport.write(encode(opcode, text or b""))

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember it: a lost subscriber makes a run incomplete."""
        self.lost = True

    def restart(self) -> None:
        """Forget the messages counted so far."""
        self.count = self.stamp_sum = 0

    def abort(self) -> None:
        """Close the socket at once, without a closing handshake."""
        self._transport.abort()


class Opening(asyncio.Protocol):
    """Upgrades, says the target's conversation, then leaves the socket to a Subscriber.

    subscribed: resolves to that Subscriber, or fails with the reason.
    """

    def __init__(
        self,
        target: Speaker,
        index: int,
        tally: Tally,
        replies: Mapping[bytes, bytes] = {},
    ) -> None:
        self._target = target
        self._index = index
        self._replies = replies
        self._tally = tally
        self._talk = target.converse(index)
        self._key = upgrade.new_key()
        self._upgraded = False
        self._data = b""
        self._transport: asyncio.Transport
        self.subscribed: asyncio.Future[Subscriber] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        target = self._target
        self._transport.write(upgrade.request(target.path, target.port, target.headers, self._key))

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake or the conversation."""
        self._data += data
        try:
            self._advance()
        except Exception as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the client was not subscribed yet."""
        self._fail(exc or ConnectionError("closed before it was subscribed"))

    def _advance(self) -> None:
        if not self._upgraded:
            rest = upgrade.accept(self._data, self._key)
            if rest is None:
                return
            self._upgraded, self._data = True, rest
            try:
                self._say(next(self._talk))
            except StopIteration as end:
                self._hand_over(end.value)
        # One by one: what follows the conversation's last frame is the subscriber's to count.
        while not self.subscribed.done():
            frames, self._data = split(self._data, 1)
            if not frames:
                return
            self._hear(frames[0])

    def _hear(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            raise ConnectionError(f"closed by the server: {frame.payload!r}")
        if frame.opcode is Opcode.PING:
            self._transport.write(encode(Opcode.PONG, frame.payload))
        elif frame.payload in self._replies:
            self._say(self._replies[frame.payload])
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            try:
                self._say(self._talk.send(frame.payload))
            except StopIteration as end:
                self._hand_over(end.value)

    def _say(self, text: bytes | None) -> None:
        if text is not None:
            self._transport.write(encode(Opcode.TEXT, text))

    def _hand_over(self, memory: Memory | None) -> None:
        subscriber = Subscriber(
            self._tally,
            self._transport,
            self._data,
            index=self._index,
            memory=memory,
            replies=self._replies,
        )
        self._transport.set_protocol(subscriber)
        self.subscribed.set_result(subscriber)
        subscriber.data_received(b"")

    def _fail(self, error: Exception) -> None:
        if not self.subscribed.done():
            self.subscribed.set_exception(error)
            self._transport.abort()
