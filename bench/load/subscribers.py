"""The worker that holds the subscribers. Run as `python -m bench.load.subscribers`."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from bench.load import percentiles
from bench.load.answering import Request, run
from bench.load.connection import Opening, Subscriber
from bench.load.dialects import Target
from bench.load.tally import Tally
from bench.machine.clock import stamp

# After the last expected message: time enough for one too many to arrive and be seen.
_SURPLUS_SECONDS: Final = 0.2


class Subscribers:
    """The connections of this worker and what they have received."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._all: list[Subscriber] = []

    async def connect(self, request: Request) -> dict[str, Any]:
        """Add `count` subscribers, `at_once` of them opening at a time, each within `timeout` s.

        Answers connected, seconds, failed, and the first failure in words.
        """
        target = Target(**request["target"])
        gate = asyncio.Semaphore(request["at_once"])
        failures: list[str] = []

        async def add(index: int) -> None:
            async with gate:
                try:
                    async with asyncio.timeout(request["timeout"]):
                        self._all.append(await self._open(target, index))
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {error}")

        start = stamp()
        first = len(self._all)
        await asyncio.gather(*(add(first + i) for i in range(request["count"])))
        return {
            "connected": len(self._all) - first,
            "seconds": (stamp() - start) / 1e6,
            "failed": len(failures),
            "reason": failures[0] if failures else None,
        }

    async def _open(self, target: Target, index: int) -> Subscriber:
        opening = Opening(target, index, self._tally)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: opening, "127.0.0.1", target.port)
        try:
            return await opening.subscribed
        except BaseException:
            transport.abort()
            raise

    async def settle(self, request: Request) -> dict[str, Any]:
        """Wait until every subscriber has `messages` messages, at most `timeout` seconds.

        Answers expected, received, wrong (subscribers with another set of messages than the one
        whose stamps add up to `stamp_sum`), lost, last (the stamp of the last arrival) and the
        latencies; then forgets them all.
        """
        messages, tally = request["messages"], self._tally
        expected = messages * len(self._all)
        reached = asyncio.Event()
        tally.at(expected, reached.set)
        with suppress(TimeoutError):  # the counts below tell that it came to that
            await asyncio.wait_for(reached.wait(), request["timeout"])
        last = tally.last
        await asyncio.sleep(_SURPLUS_SECONDS)
        wanted = (messages, request["stamp_sum"])
        answer = {
            "expected": expected,
            "received": tally.received,
            "wrong": sum((each.count, each.stamp_sum) != wanted for each in self._all),
            "lost": sum(each.lost for each in self._all),
            "last": last,
            **percentiles.summary(tally.latencies),
        }
        tally.restart()
        for each in self._all:
            each.restart()
        return answer

    async def close(self, request: Request) -> dict[str, Any]:
        """Abort every connection."""
        for each in self._all:
            each.abort()
        self._all.clear()
        return {}


def main() -> None:
    """Answer the benchmark's requests."""
    subscribers = Subscribers()
    run(
        {
            "connect": subscribers.connect,
            "settle": subscribers.settle,
            "close": subscribers.close,
        }
    )


if __name__ == "__main__":
    main()
