"""The worker whose clients go away and come back. Run as `python -m bench.load.resuming`."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from bench.load.answering import Request, run
from bench.load.connection import Opening, Subscriber
from bench.load.dialects import Conversation, expect, frame
from bench.load.tally import Tally
from bench.machine.clock import stamp

_MESSAGE: Final = b'{"type":"message"'
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 2.0


class Unrecovered(Exception):
    """The server says that a replay is not whole, or it was not."""


class Client:
    """One client: what it needs to come back, and what came when it did.

    port: of the server to speak to; it may change between two connections.
    """

    path = "/ws"
    headers: Mapping[str, str] = {"Sec-WebSocket-Protocol": "notifications.v1.json"}

    def __init__(self, name: str, pattern: str, token: str) -> None:
        self.port = 0
        self.messages = 0
        self.authenticated = 0
        """When its last auth_success came, by bench.machine.clock."""
        self._name = name
        self._pattern = pattern
        self._token = token
        self._session = ""
        self._cursor: dict[str, Any] = {}

    def converse(self, index: int) -> Conversation:
        """Subscribe the first time; afterwards resume, and count what is replayed."""
        if self._session:
            return self._resume()
        return self._subscribe()

    def _subscribe(self) -> Conversation:
        success = yield frame(type="auth", token=self._token, clientId=self._name)
        answer = expect(success, "auth_success")
        expect((yield frame(type="subscribe", id=1, topic=self._pattern)), "subscribed")
        self._session, self._cursor = answer["sessionId"], answer["cursor"]

    def _resume(self) -> Conversation:
        self.messages = 0
        resume = {"sessionId": self._session, "cursor": self._cursor}
        success = yield frame(type="auth", token=self._token, clientId=self._name, resume=resume)
        if not expect(success, "auth_success")["resumed"]:
            raise Unrecovered("resumed: false")
        self.authenticated = stamp()
        while (text := (yield None)).startswith(_MESSAGE):
            self.messages += 1
        complete = expect(text, "replay_complete")
        if not complete["recovered"] or complete["count"] != self.messages:
            raise Unrecovered(f"{self.messages} messages, then {text[:300].decode()}")
        self._cursor = complete["cursor"]


class Clients:
    """All clients of this worker."""

    def __init__(self) -> None:
        self._all: list[Client] = []
        self._tally = Tally()

    async def leave(self, request: Request) -> dict[str, Any]:
        """Make `count` clients, client i of pattern and token i modulo their numbers; subscribe
        and go away.

        Answers how many did.
        """
        patterns, tokens = request["patterns"], request["tokens"]
        self._all = [
            Client(
                f"bench-{request['run']}-{i}", patterns[i % len(patterns)], tokens[i % len(tokens)]
            )
            for i in range(request["count"])
        ]
        return await self._each(request, at_once=request["at_once"])

    async def resume(self, request: Request) -> dict[str, Any]:
        """Have all come back at once, receive what they missed, and go away again.

        Answers done, messages, attempts, seconds, those until the last auth_success, and the
        failures by their words.
        """
        start = stamp()
        answer = await self._each(request, at_once=len(self._all))
        wrong = [client.messages for client in self._all if client.messages != request["missed"]]
        return answer | {
            "messages": sum(client.messages for client in self._all),
            "wrong": len(wrong),
            "authenticated_seconds": max([one.authenticated - start for one in self._all] + [0])
            / 1e6,
        }

    async def _each(self, request: Request, *, at_once: int) -> dict[str, Any]:
        gate = asyncio.Semaphore(at_once)
        attempts, done = 0, 0
        failures: Counter[str] = Counter()
        opened: list[Subscriber] = []

        async def visit(client: Client) -> None:
            nonlocal attempts, done
            client.port = request["port"]
            pause = _FIRST_PAUSE
            async with gate, asyncio.timeout(request["timeout"]):
                while True:
                    attempts += 1
                    try:
                        opened.append(await self._open(client))
                    except Unrecovered as error:
                        failures[str(error)[:200]] += 1
                        return
                    except (OSError, EOFError) as error:
                        # As a client would: again after a while that differs between them.
                        failures[f"{type(error).__name__}: {error}"[:200]] += 1
                        await asyncio.sleep(random.uniform(0, pause))
                        pause = min(2 * pause, _LONGEST_PAUSE)
                        continue
                    done += 1
                    return

        start = stamp()
        results = await asyncio.gather(*map(visit, self._all), return_exceptions=True)
        seconds = (stamp() - start) / 1e6
        for result in results:
            if isinstance(result, BaseException):
                failures[f"{type(result).__name__}: {result}"[:200]] += 1
        # They leave together, when all have come: nobody's going is in the figures.
        for subscriber in opened:
            subscriber.abort()
        return {
            "done": done,
            "attempts": attempts,
            "seconds": seconds,
            "failures": dict(failures.most_common(5)),
        }

    async def _open(self, client: Client) -> Subscriber:
        opening = Opening(client, 0, self._tally)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: opening, "127.0.0.1", client.port)
        try:
            return await opening.subscribed
        except BaseException:
            transport.abort()
            raise


def main() -> None:
    """Answer the benchmark's requests."""
    clients = Clients()
    run({"leave": clients.leave, "resume": clients.resume})


if __name__ == "__main__":
    main()
