"""A subscriber of a fault run, on the `websockets` library: it comes, goes, reconnects, resumes."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import websockets
from websockets.asyncio.client import ClientConnection

from tests.delivery.history import Connecting, Disconnected, History, Offsets
from tests.delivery.subscriber_state import Line, SubscriberState

PING_INTERVAL = 1.0
"""Seconds between pings."""

SILENCE = 5.0
"""Seconds without any frame after which a connection is dead, and for an answer to `auth`."""

BACKOFF = (0.05, 0.3)
"""Seconds between two attempts to connect, at least and at most."""

TAKEN_OVER = 4504


@dataclass(frozen=True)
class Habits:
    """What a subscriber does on purpose.

    stays: seconds until it leaves or takes itself over, at least and at most; None: it stays.
    away: seconds that it stays away then; None: it connects anew while the old socket is open.
    """

    stays: tuple[float, float] | None = None
    away: tuple[float, float] | None = None


class FaultSubscriber:
    """A client that wants its patterns served, by whichever server answers.

    urls: the servers' socket URLs. state: what it wants and keeps.
    """

    def __init__(
        self,
        state: SubscriberState,
        history: History,
        urls: Sequence[str],
        token: str,
        *,
        habits: Habits,
        chance: random.Random,
    ) -> None:
        self.state = state
        self.steady = False
        """Whether it stays, whatever its habits; the run sets this at its end."""
        self.broken: Counter[str] = Counter()
        """How many connections to each server broke."""
        self._history = history
        self._urls = urls
        self._token = token
        self._habits = habits
        self._chance = chance
        self._turn = chance.randrange(len(urls))
        self._count = 0
        self._lines: dict[int, tuple[Line, ClientConnection]] = {}

    @property
    def comes_and_goes(self) -> bool:
        """Whether it leaves, or takes itself over, on purpose."""
        return self._habits.stays is not None and not self.steady

    @property
    def is_served(self) -> bool:
        """Whether all subscriptions are in force on a connection and nothing is recovering."""
        return any(line.is_ready for line, _ in self._lines.values())

    def is_on(self, url: str) -> bool:
        """Whether a connection to this server is up."""
        return any(line.server == url and line.is_ready for line, _ in self._lines.values())

    def has_reached(self, heads: Offsets) -> bool:
        """Whether it came to stay, is served and its cursor covers the heads of the log.

        Served by its latest connection: one that is being taken over, or left, still looks ready.
        """
        line, _ = self._lines.get(self._count, (None, None))
        served = line is not None and line.is_ready and not line.leaving
        return self.steady and served and self.covers(heads)

    def covers(self, heads: Offsets) -> bool:
        """Whether its cursor covers the heads of the log."""
        return all(map(self.state.cursor.covers, heads.items()))

    async def run(self) -> None:
        """Stay connected, by its habits, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                url = self._urls[self._turn % len(self._urls)]
                self._turn += 1
                self._count += 1
                number = self._count
                serving = tasks.create_task(self._serve(number, url))
                await asyncio.wait([serving], timeout=self._stay())
                if self.steady:  # perhaps only since the wait began
                    await asyncio.wait([serving])
                if serving.done():  # the connection broke, or was not had
                    await asyncio.sleep(self._chance.uniform(*BACKOFF))
                elif self._habits.away is not None:
                    await self._leave(number, serving)
                    await asyncio.sleep(self._chance.uniform(*self._habits.away))

    def _stay(self) -> float | None:
        if self._habits.stays is None or self.steady:
            return None
        return self._chance.uniform(*self._habits.stays)

    async def _leave(self, number: int, serving: asyncio.Task[None]) -> None:
        if number not in self._lines:  # it is still connecting
            serving.cancel()
        else:
            line, socket = self._lines[number]
            line.leaving = True
            if self._chance.random() < 0.5:
                socket.transport.abort()
            else:
                await socket.close()
        await asyncio.wait([serving])

    async def _serve(self, number: int, url: str) -> None:
        """Hold one connection until it ends."""
        name = self.state.name
        self._history.record(Connecting(client=name, connection=number))
        reason = ""
        try:
            async with (
                asyncio.timeout(SILENCE) as silence,
                websockets.connect(
                    url,
                    subprotocols=[websockets.Subprotocol("notifications.v1.json")],
                    compression=None,
                    max_size=None,
                    ping_interval=None,
                    close_timeout=1,
                ) as socket,
            ):
                await self._talk(Line(number, url), socket, silence)
        except asyncio.CancelledError:
            self._lines.pop(number, None)  # the run is over
            raise
        except websockets.ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
            reason = f"closed {code}"
            if code == TAKEN_OVER and len(self._lines) > 1:
                self._lines[number][0].leaving = True  # by ourselves
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            reason = type(error).__name__
        if number in self._lines:
            line, _ = self._lines.pop(number)
            if not line.leaving:
                self.broken[url] += 1
            self._history.record(
                Disconnected(
                    client=name,
                    connection=number,
                    server=url,
                    on_purpose=line.leaving,
                    reason=reason,
                )
            )

    async def _talk(self, line: Line, socket: ClientConnection, silence: asyncio.Timeout) -> None:
        """Authenticate and take frames; ends with the exception that ends the connection."""
        loop = asyncio.get_running_loop()
        await socket.send(json.dumps(self.state.auth(line, self._token)))
        answer = json.loads(await socket.recv())
        if answer["type"] != "auth_success":
            raise AssertionError(f"{self.state.name} was refused: {answer}")
        requests = self.state.authenticated(line, answer)
        self._lines[line.number] = line, socket
        for request in requests:
            await socket.send(json.dumps(request))
        pinging = asyncio.create_task(self._ping(socket))
        try:
            while True:
                frame = json.loads(await socket.recv())
                silence.reschedule(loop.time() + SILENCE)
                self.state.take(line, frame)
        finally:
            pinging.cancel()

    async def _ping(self, socket: ClientConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            while True:
                await socket.send('{"type": "ping"}')
                await asyncio.sleep(PING_INTERVAL * self._chance.uniform(0.8, 1.2))
