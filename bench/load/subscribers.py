"""The worker that holds the subscribers. Run as `python -m bench.load.subscribers`."""

import asyncio
import json
from contextlib import suppress
from typing import Any, Final

from bench.load import percentiles
from bench.load.answering import Request, run
from bench.load.connection import Opening, Subscriber
from bench.load.dialects import DIALECTS, Returning, Speaker, Target
from bench.load.tally import Tally
from bench.machine.clock import stamp

# After the last expected message: time enough for one too many to arrive and be seen.
_SURPLUS_SECONDS: Final = 0.2
_BEAT_SECONDS: Final = 0.01
# After a pause of the machine: what was due meanwhile goes out by and by.
_BEATS_AT_ONCE: Final = 100
_SUBSCRIBES_WAITING: Final = 500


class Subscribers:
    """The connections of this worker and what they have received."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._all: list[Subscriber] = []
        self._gone: list[Subscriber] = []

    async def connect(self, request: Request) -> dict[str, Any]:
        """Add `count` subscribers, `at_once` of them opening at a time, each within `timeout` s.

        Answers connected, seconds, failed, and the first failure in words.
        """
        target = Target(**request["target"])
        first = len(self._all)
        speakers: list[tuple[int, Speaker]] = [
            (first + number, target) for number in range(request["count"])
        ]
        return await self._open_all(target, speakers, request)

    async def leave(self, request: Request) -> dict[str, Any]:
        """Have all subscribers drop their connections at once; they remember who they were."""
        self._gone, self._all = self._all, []
        for each in self._gone:
            each.abort()
        return {}

    async def come_back(self, request: Request) -> dict[str, Any]:
        """Have those who left resume, or subscribe anew where there is nothing to resume.

        `at_once`, `timeout` and the answer are those of `connect`.
        """
        target = Target(**request["target"])
        speakers: list[tuple[int, Speaker]] = [
            (each.index, Returning(target, each.memory)) for each in self._gone
        ]
        self._gone = []
        return await self._open_all(target, speakers, request)

    async def _open_all(
        self, target: Target, speakers: list[tuple[int, Speaker]], request: Request
    ) -> dict[str, Any]:
        gate = asyncio.Semaphore(request["at_once"])
        failures: list[str] = []

        async def add(index: int, speaker: Speaker) -> None:
            async with gate:
                try:
                    async with asyncio.timeout(request["timeout"]):
                        self._all.append(await self._open(target, speaker, index))
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {error}")

        start = stamp()
        first = len(self._all)
        await asyncio.gather(*(add(index, speaker) for index, speaker in speakers))
        return {
            "connected": len(self._all) - first,
            "seconds": (stamp() - start) / 1e6,
            "failed": len(failures),
            "reason": failures[0] if failures else None,
        }

    async def _open(self, target: Target, speaker: Speaker, index: int) -> Subscriber:
        replies = DIALECTS[target.dialect].replies
        opening = Opening(speaker, index, self._tally, replies)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: opening, target.host, target.port)
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

    async def idle(self, request: Request) -> dict[str, Any]:
        """Have each subscriber send its heartbeat every `interval` seconds, for `seconds`.

        They take turns, evenly over the interval. Answers seconds, sent, answers (until all have
        come, at most `timeout` seconds more) and lost.
        """
        text = DIALECTS[request["target"]["dialect"]].heartbeat
        tally, everyone = self._tally, self._all
        tally.answers = sent = 0
        loop = asyncio.get_running_loop()
        start = stamp()
        began = loop.time()
        pace = len(everyone) / request["interval"]
        total = int(request["seconds"] * pace)
        while (elapsed := loop.time() - began) < request["seconds"] or sent < total:
            for number in range(sent, min(int(elapsed * pace), total, sent + _BEATS_AT_ONCE)):
                everyone[number % len(everyone)].say(text)
                sent += 1
            await asyncio.sleep(_BEAT_SECONDS)
        seconds = (stamp() - start) / 1e6
        deadline = loop.time() + request["timeout"]
        while tally.answers < sent and loop.time() < deadline:
            await asyncio.sleep(_BEAT_SECONDS)
        return {
            "seconds": seconds,
            "sent": sent,
            "answers": tally.answers,
            "lost": sum(each.lost for each in everyone),
        }

    async def subscribe(self, request: Request) -> dict[str, Any]:
        """Have the first subscribers hold `total` patterns more, `each` of them one; ours only.

        Pattern i is `pattern` with its number in it, counted from `first`; they are asked for by
        the batch, and not more than a few hundred wait for their answers. Answers subscribed and
        refused, after `timeout` seconds at the latest.
        """
        tally, total, each = self._tally, request["total"], request["each"]
        tally.answers = tally.refusals = 0
        first, sent = request["first"], 0
        async with asyncio.timeout(request["timeout"]):
            for subscriber in self._all[first // each :]:
                if sent >= total:
                    break
                numbers = range(first + sent, first + min(sent + each, total))
                frames = [
                    {"type": "subscribe", "id": number, "topic": request["pattern"] % number}
                    for number in numbers
                ]
                subscriber.say(json.dumps(frames).encode())
                sent += len(frames)
                while sent - tally.answers > _SUBSCRIBES_WAITING:
                    await asyncio.sleep(_BEAT_SECONDS)
            while tally.answers < sent:
                await asyncio.sleep(_BEAT_SECONDS)
        return {"subscribed": tally.answers - tally.refusals, "refused": tally.refusals}

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
            "leave": subscribers.leave,
            "come_back": subscribers.come_back,
            "idle": subscribers.idle,
            "subscribe": subscribers.subscribe,
            "settle": subscribers.settle,
            "close": subscribers.close,
        }
    )


if __name__ == "__main__":
    main()
