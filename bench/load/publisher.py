"""The worker that publishes. Run as `python -m bench.load.publisher`."""

import asyncio
from collections import Counter
from typing import Any

from bench.load import percentiles
from bench.load.answering import Request, run
from bench.load.flooding import burst, post_batches
from bench.load.posting import Endpoint, connect
from bench.load.sinks import Sink, open_sink
from bench.load.stamps import notification
from bench.machine.clock import stamp


class _Accepted:
    """How many messages a sink took, the sum of their stamps, and how the others ended."""

    def __init__(self, sink: Sink, payload_bytes: int) -> None:
        self._sink = sink
        self._before, self._after = notification(payload_bytes)
        self.messages = 0
        self.stamp_sum = 0
        self.statuses: Counter[str] = Counter()

    async def send(self) -> None:
        now = stamp()
        payload = b"%b%d%b" % (self._before, now, self._after)
        try:
            status = await self._sink.send(payload)
        except (OSError, ValueError):
            self.statuses["lost"] += 1
            return
        if 200 <= status < 300:
            self.messages += 1
            self.stamp_sum += now
        else:
            self.statuses[str(status)] += 1


async def fan_out(request: Request) -> dict[str, Any]:
    """Publish `messages` messages, `rate` a second, or as fast as they are taken when it is null.

    A paced message goes out at its time, whether the one before has been answered or not; its
    stamp is the time when it was sent. All are answered within `timeout` seconds, or it fails.
    Answers messages, stamp_sum, statuses (of those not taken), start (stamp) and seconds.
    """
    sink = open_sink(request["sink"])
    accepted = _Accepted(sink, request["payload_bytes"])
    start = stamp()
    async with asyncio.timeout(request["timeout"]):
        if request["rate"]:
            await _paced(accepted, request["messages"], request["rate"])
        else:
            await _saturated(accepted, request["messages"], sink.at_once)
        seconds = (stamp() - start) / 1e6
        await sink.close()
    return {
        "messages": accepted.messages,
        "stamp_sum": accepted.stamp_sum,
        "statuses": dict(accepted.statuses),
        "start": start,
        "seconds": seconds,
    }


async def _paced(accepted: _Accepted, messages: int, rate: float) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(messages):
            await asyncio.sleep(start + number / rate - loop.time())
            group.create_task(accepted.send())


async def _saturated(accepted: _Accepted, messages: int, at_once: int) -> None:
    numbers = iter(range(messages))

    async def lane() -> None:
        for _ in numbers:
            await accepted.send()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, messages)):
            group.create_task(lane())


async def post(request: Request) -> dict[str, Any]:
    """Post for `seconds`: `concurrency` connections, each sends again once it was answered.

    topics: the names that the messages go to in turn.  Answers requests (those with 2xx),
    seconds (until the last answer), statuses (all others, and `lost`) and the latencies.
    """
    endpoint = Endpoint(**request["endpoint"])
    before, after = notification(request["payload_bytes"])
    topics = [name.encode() for name in request["topics"]]
    latencies: list[int] = []
    statuses: Counter[str] = Counter()
    start = stamp()
    end = start + int(request["seconds"] * 1e6)

    async def lane(number: int) -> None:
        poster = await connect(endpoint.port)
        try:
            while (sent := stamp()) < end:
                topic = topics[number % len(topics)]
                number += request["concurrency"]
                body = b'{"topic":"%b","payload":%b%d%b}' % (topic, before, sent, after)
                status = await poster.post(endpoint.request(body))
                if 200 <= status < 300:
                    latencies.append(stamp() - sent)
                else:
                    statuses[str(status)] += 1
        except (OSError, ValueError):
            statuses["lost"] += 1  # this lane ends, and the count says that it did
        finally:
            poster.close()

    async with asyncio.timeout(request["seconds"] + request["timeout"]):
        await asyncio.gather(*(lane(number) for number in range(request["concurrency"])))
    return {
        "requests": len(latencies),
        "seconds": (stamp() - start) / 1e6,
        "statuses": dict(statuses),
        **percentiles.summary(latencies),
    }


def main() -> None:
    """Answer the benchmark's requests."""
    run({"fan_out": fan_out, "post": post, "post_batches": post_batches, "burst": burst})


if __name__ == "__main__":
    main()
