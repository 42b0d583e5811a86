"""The worker that holds whole clients. Run as `python -m bench.load.reconnecting`.

Not the generator's own protocol: what is measured is how the Python client comes back.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bellwether_client import (
    ConnectionState,
    NotificationClient,
    NotificationClientConfig,
    RetryConfig,
)
from bench.load.answering import Request, run


class Returning:
    """A client, and when it lost its connection, tried again and was back: monotonic seconds."""

    def __init__(self, client: NotificationClient) -> None:
        self.client = client
        self.lost_at: float | None = None
        self.tried_at: float | None = None
        self.back_at: float | None = None
        self.delay: float | None = None
        self.tries = 0
        client.on_state_change(self._changed)

    def _changed(self, state: ConnectionState) -> None:
        now = time.monotonic()
        if state.status == "reconnecting" and self.lost_at is None:
            self.lost_at, self.delay = now, state.backoff_delay
        elif state.status == "connecting" and self.lost_at is not None:
            self.tries += 1
            self.tried_at = self.tried_at or now
        elif state.status == "connected" and self.lost_at is not None:
            self.back_at = now

    def times(self) -> dict[str, Any]:
        """Return what was noted."""
        return {
            "lost": self.lost_at,
            "tried": self.tried_at,
            "back": self.back_at,
            "delay": self.delay,
            "tries": self.tries,
        }


class Clients:
    """The clients of this worker."""

    def __init__(self) -> None:
        self._all: list[Returning] = []

    async def connect(self, request: Request) -> dict[str, Any]:
        """Connect `count` clients, `at_once` of them opening at a time, and subscribe each."""
        gate = asyncio.Semaphore(request["at_once"])
        retry = RetryConfig(max_retries=0, initial_delay=request["delay"], jitter=True)

        async def add() -> None:
            config = NotificationClientConfig(
                url=request["url"], auth=request["token"], retry_config=retry
            )
            client = NotificationClient(config)
            async with gate, asyncio.timeout(request["timeout"]):
                await client.connect()
                await client.subscribe(request["topic"], lambda _: None).ready()
            self._all.append(Returning(client))

        await asyncio.gather(*(add() for _ in range(request["count"])))
        return {"connected": len(self._all)}

    async def come_back(self, request: Request) -> dict[str, Any]:
        """Wait until all are back, at most `timeout` seconds, and answer the times of each."""
        await _until(lambda: all(one.back_at for one in self._all), request["timeout"])
        return {"times": [one.times() for one in self._all]}

    async def leave(self, request: Request) -> dict[str, Any]:
        """Disconnect all."""
        async with asyncio.timeout(request["timeout"]):
            await asyncio.gather(*(one.client.disconnect() for one in self._all))
        return {}


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


def main() -> None:
    """Answer the benchmark's requests."""
    clients = Clients()
    run({"connect": clients.connect, "come_back": clients.come_back, "leave": clients.leave})


if __name__ == "__main__":
    main()
