"""The worker of readers that read slowly or not at all. Run as `python -m bench.load.slow`."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from bench.load.answering import Request, run
from bench.load.sluggish import Sluggish
from bench.machine.queues import queues

# Longer than between two messages of a topic: more was to be written meanwhile.
_LOOK_SECONDS: Final = 0.4


class SlowReaders:
    """The readers of this worker."""

    def __init__(self) -> None:
        self._all: list[Sluggish] = []
        self._sipping: list[asyncio.Task[None]] = []
        self._resetting: asyncio.Task[int] | None = None
        self._port = 0

    async def open(self, request: Request) -> dict[str, Any]:
        """Connect and subscribe one reader to each of `topics`, `at_once` at a time.

        The first `sipping` of them then read `sip` bytes a second, the others nothing. The last
        `reset` are each reset as soon as the server cannot write to them.
        """
        self._port, gate = request["port"], asyncio.Semaphore(request["at_once"])
        self._all = [
            Sluggish(self._port, request["token"], f"{request['run']}-{number}", topic)
            for number, topic in enumerate(request["topics"])
        ]

        async def open_one(one: Sluggish) -> None:
            async with gate:
                await one.open()

        async with asyncio.timeout(request["timeout"]):
            await asyncio.gather(*map(open_one, self._all))
        loop = asyncio.get_running_loop()
        self._sipping = [
            loop.create_task(one.sip(request["sip"])) for one in self._all[: request["sipping"]]
        ]
        last = self._all[len(self._all) - request["reset"] :]
        self._resetting = loop.create_task(self._reset_when_blocked(last))
        return {"opened": len(self._all)}

    async def leave(self, request: Request) -> dict[str, Any]:
        """End all connections; return how many were reset while the server was blocked."""
        assert self._resetting is not None
        for task in (*self._sipping, self._resetting):
            task.cancel()
        blocked = 0
        with suppress(asyncio.CancelledError):
            blocked = await self._resetting
        await asyncio.gather(*self._sipping, return_exceptions=True)
        for one in self._all:
            one.leave()
        return {"blocked": blocked}

    async def _reset_when_blocked(self, readers: list[Sluggish]) -> int:
        """Reset each reader when the kernel holds as much for it as a while ago."""
        waiting = {one.local_port(): one for one in readers}
        seen: dict[int, int] = {}
        blocked = 0
        with suppress(asyncio.CancelledError):
            while waiting:
                await asyncio.sleep(_LOOK_SECONDS)
                unsent = {queue.peer: queue.unsent for queue in queues(port=self._port)}
                for port, one in list(waiting.items()):
                    held = unsent.get(port, 0)
                    if held and seen.get(port) == held:
                        blocked += 1
                        del waiting[port]
                        one.reset()
                    seen[port] = held
        return blocked


def main() -> None:
    """Answer the benchmark's requests."""
    readers = SlowReaders()
    run({"open": readers.open, "leave": readers.leave})


if __name__ == "__main__":
    main()
