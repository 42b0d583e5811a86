"""Publishing by the batch, and publishing more than is taken."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any, Final

from bench.load import percentiles
from bench.load.answering import Request
from bench.load.posting import Endpoint, Poster, connect
from bench.load.stamps import notification
from bench.machine.clock import stamp

NDJSON: Final = "application/x-ndjson"
_AT_ONCE: Final = 50
# What ours answers for each message that it took; the baseline answers with the ids.
_TAKEN: Final = re.compile(rb'"status":20[01]\b')
_IDS: Final = re.compile(rb'\A\{"ids":\[([0-9,]+)\]')


def batch_body(
    topics: Sequence[str], *, messages: int, payload_bytes: int, ndjson: bool = False
) -> bytes:
    """Build the body of a batch whose messages go to the topics in turn; JSON, or NDJSON."""
    before, after = notification(payload_bytes)
    payload = b"%b%d%b" % (before, stamp(), after)
    each = [
        b'{"topic":"%b","payload":%b}' % (topics[number % len(topics)].encode(), payload)
        for number in range(messages)
    ]
    return b"\n".join(each) if ndjson else b'{"messages":[' + b",".join(each) + b"]}"


def taken_of(body: bytes) -> int:
    """Count the messages that the answer to a batch says were taken."""
    ids = _IDS.match(body)
    return ids[1].count(b",") + 1 if ids else len(_TAKEN.findall(body))


async def post_batches(request: Request) -> dict[str, Any]:
    """Post batches for `seconds`: `concurrency` connections, each sends again once answered.

    Answers messages (those taken), requests, seconds (until the last answer), statuses (of
    requests that were not 2xx), refused (messages of 2xx that were not taken), the latencies.
    """
    endpoint = Endpoint(**request["endpoint"])
    body = batch_body(
        request["topics"],
        messages=request["messages"],
        payload_bytes=request["payload_bytes"],
        ndjson=request["ndjson"],
    )
    media_type = NDJSON if request["ndjson"] else "application/json"
    sent_text = endpoint.request(body, media_type=media_type)
    latencies: list[int] = []
    statuses: Counter[str] = Counter()
    taken = 0
    start = stamp()
    end = start + int(request["seconds"] * 1e6)

    async def lane() -> None:
        nonlocal taken
        poster = await connect(endpoint.port, keep_body=True)
        try:
            while (sent := stamp()) < end:
                status = await poster.post(sent_text)
                if 200 <= status < 300:
                    latencies.append(stamp() - sent)
                    taken += taken_of(poster.responses.body)
                else:
                    statuses[str(status)] += 1
        except (OSError, ValueError):
            statuses["lost"] += 1  # this lane ends, and the count says that it did
        finally:
            poster.close()

    async with asyncio.timeout(request["seconds"] + request["timeout"]):
        await asyncio.gather(*(lane() for _ in range(request["concurrency"])))
    return {
        "messages": taken,
        "requests": len(latencies),
        "refused": len(latencies) * request["messages"] - taken,
        "seconds": (stamp() - start) / 1e6,
        "statuses": dict(statuses),
        **percentiles.summary(latencies),
    }


class _Flood:
    """Sends requests at their times, each over a connection that has none on its way."""

    def __init__(
        self, endpoint: Endpoint, texts: Sequence[bytes], *, most: int, keep_body: bool
    ) -> None:
        self._endpoint = endpoint
        self._texts = cycle(texts)
        self._most = most
        self._keep_body = keep_body
        self._idle: list[Poster] = []
        self.connections = 0
        self.sent = 0
        self.statuses: Counter[str] = Counter()
        self.without_retry_after = 0
        self.taken = 0
        self.latencies: list[int] = []

    async def open(self) -> None:
        """Open all connections, few at a time.

        A rush of them would fill the server's backlog, and its kernel would then let data wait for
        half a minute of retransmissions: that is another test.
        """
        while self.connections < self._most:
            count = min(_AT_ONCE, self._most - self.connections)
            opening = [
                connect(self._endpoint.port, keep_body=self._keep_body) for _ in range(count)
            ]
            self._idle += await asyncio.gather(*opening)
            self.connections += count

    async def send(self) -> None:
        try:
            poster = await self._connection()
            if poster is None:
                self.statuses["not sent"] += 1
                return
            sent = stamp()
            self.sent += 1
            status = await poster.post(next(self._texts))
        except (OSError, ValueError):
            self.statuses["lost"] += 1
            self.connections -= 1
            return
        self.statuses[str(status)] += 1
        if 200 <= status < 300:
            self.latencies.append(stamp() - sent)
            self.taken += taken_of(poster.responses.body) if self._keep_body else 1
        elif status in (429, 503) and not poster.responses.retry_after:
            self.without_retry_after += 1
        self._idle.append(poster)

    async def _connection(self) -> Poster | None:
        while self._idle:
            poster = self._idle.pop()
            if poster.usable:
                return poster
            self.connections -= 1
        if self.connections >= self._most:
            return None
        self.connections += 1
        return await connect(self._endpoint.port, keep_body=self._keep_body)

    def close(self) -> None:
        for poster in self._idle:
            poster.close()


async def burst(request: Request) -> dict[str, Any]:
    """Send `rate` requests a second for `seconds`, whether those before are answered or not.

    At most `connections`, opened before, are on their way; what would be more is counted as
    `not sent`.
    messages: in each request; 1 posts single messages. Answers when all are answered, within
    `timeout` seconds more: offered (messages that were due), sent (those that went out), both also
    by the second; taken (messages), also by the second until the last answer; statuses (all),
    without_retry_after (of those with 429 or 503), the latencies of the 2xx.
    """
    endpoint = Endpoint(**request["endpoint"])
    messages = request["messages"]
    topics, size = request["topics"], request["payload_bytes"]
    # Request after request goes on with the topics where the one before ended.
    bodies = [
        batch_body(topics[first : first + messages], messages=messages, payload_bytes=size)
        for first in range(0, len(topics), messages)
    ]
    if messages == 1:
        bodies = [body.removeprefix(b'{"messages":[').removesuffix(b"]}") for body in bodies]
    flood = _Flood(
        endpoint,
        [endpoint.request(body) for body in bodies],
        most=request["connections"],
        keep_body=messages > 1,
    )
    loop = asyncio.get_running_loop()
    await flood.open()
    start, rate = loop.time(), request["rate"]
    offered = 0
    sending: set[asyncio.Task[None]] = set()
    while (passed := loop.time() - start) < request["seconds"]:
        # What fell behind while others ran is sent now: the rate is kept on the whole.
        for _ in range(int(passed * rate) - offered):
            offered += 1
            task = loop.create_task(flood.send())
            sending.add(task)
            task.add_done_callback(sending.discard)
        await asyncio.sleep(0.001)
    seconds = loop.time() - start
    async with asyncio.timeout(request["timeout"]):
        while sending:
            await asyncio.wait(sending)
    answered = loop.time() - start
    flood.close()
    return {
        "offered": offered * messages,
        "offered_per_second": offered * messages / seconds,
        "sent": flood.sent * messages,
        "sent_per_second": flood.sent * messages / seconds,
        "taken": flood.taken,
        "taken_per_second": flood.taken / answered,
        "statuses": dict(flood.statuses),
        "without_retry_after": flood.without_retry_after,
        **percentiles.summary(flood.latencies),
    }
