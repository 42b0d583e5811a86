"""Drives the Python client: commands as JSON lines on stdin, observations as JSON lines on stdout.

driver.mjs is its twin; tests/vectors/traces/README.md says what the lines mean.
The argument is the path of a file for the client's storage.
"""

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from bellwether_client import (
    ClientEvent,
    FileStorage,
    NotificationClient,
    NotificationError,
    NotificationMessage,
    Subscription,
)
from bellwether_client.config import Auth
from tests.clients.driver_config import config_of, cursor_of, options_of, plain, publish_options
from tests.clients.driver_views import (
    event_view,
    failure_view,
    observe,
    sparse,
    state_view,
    stats_view,
)

Command = dict[str, Any]

PAUSE = 0.002
"""Seconds that a handler takes which pauses: something always waits when a connection breaks."""


class Driver:
    """Runs commands on one client; `new` makes the next."""

    def __init__(self, storage_path: str) -> None:
        self._storage_path = storage_path
        self._client: NotificationClient
        self._subscriptions: dict[str, Subscription] = {}
        self._names: dict[str, str] = {}
        self._making: str | None = None
        self._orphans: dict[str, Callable[[], object]] = {}
        self._waiting: dict[str, deque[asyncio.Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, command: Command) -> None:
        """Begin a command; how it ends is observed."""
        fields = {name: value for name, value in command.items() if name != "do"}
        getattr(self, f"do_{command['do']}")(fields)

    # --- Connection ---------------------------------------------------------------------------

    def do_new(self, fields: Command) -> None:
        config = fields["config"]
        storage = FileStorage(fields.get("storage", self._storage_path))
        client = NotificationClient(config_of(config, _auth_of(config["auth"]), storage))
        self._client, self._subscriptions = client, {}
        client.on_state_change(lambda state: observe(state_view(state)))
        client.on_event(self._event)

    def do_connect(self, fields: Command) -> None:
        self._see(fields.get("as", "connect"), self._client.connect())

    def do_disconnect(self, fields: Command) -> None:
        self._see(fields.get("as", "disconnect"), self._client.disconnect())

    def do_state(self, _: Command) -> None:
        observe(state_view(self._client.get_connection_state()))

    def do_stats(self, _: Command) -> None:
        observe(stats_view(self._client.get_stats()))

    def do_latency(self, _: Command) -> None:
        observe({"latency": self._client.get_stats().average_latency})

    def do_cursor(self, _: Command) -> None:
        observe({"cursor": plain(self._client.get_cursor())})

    # --- Subscriptions ------------------------------------------------------------------------

    def do_subscribe(self, fields: Command) -> None:
        name = fields["as"]

        def failed(error: Exception, message: NotificationMessage[Any]) -> None:
            observe({"error": str(error), "got": message.payload, "by": name})

        handler = self._handler(name, fields.get("handler") or {})
        options = options_of(fields.get("options") or {}, failed)
        self._making = name
        made = self._client.subscribe(fields["topic"], handler, options)
        self._subscriptions[name] = made
        self._names[made.id] = name
        self._begin(self._see_ready(name, made))

    def do_unsubscribe(self, fields: Command) -> None:
        held = self._subscriptions.get(fields["of"])
        self._client.unsubscribe(held.id if held else fields["of"])

    def do_end_orphan(self, fields: Command) -> None:
        self._orphans[fields["topic"]]()

    def do_active(self, fields: Command) -> None:
        name = fields["of"]
        observe({"active": name, "is": self._subscriptions[name].is_active()})

    def do_release(self, fields: Command) -> None:
        self._waiting[fields["of"]].popleft().set()

    # --- Messages -----------------------------------------------------------------------------

    def do_publish(self, fields: Command) -> None:
        options = publish_options(fields.get("options") or {})
        call = self._client.publish(fields["topic"], fields["payload"], **options)
        self._see(fields["as"], call, lambda m: sparse(id=m.id, seq=m.seq, duplicate=m.duplicate))

    def do_replay(self, fields: Command) -> None:
        options = publish_options(fields.get("options") or {})
        if "subscription" in options:
            options["subscription"] = self._subscriptions[options["subscription"]]
        call = self._client.replay(cursor_of(fields["cursor"]), **options)
        self._see(
            fields["as"],
            call,
            lambda r: {"recovered": r.recovered, **sparse(count=r.count, reason=r.reason)},
        )

    def do_echo(self, fields: Command) -> None:
        async def echo() -> None:
            for _ in range(5):  # whatever was begun before has been done by then
                await asyncio.sleep(0)
            observe({"echo": fields["id"]})

        self._begin(echo())

    # --- What is observed ---------------------------------------------------------------------

    def _event(self, event: ClientEvent) -> None:
        if event.type == "orphan":
            self._orphans[event.topic] = event.unsubscribe
        observe(event_view(event, self._names, self._making))

    def _see(
        self,
        name: str,
        call: Awaitable[Any],
        result: Callable[[Any], Any] = lambda _: True,
    ) -> None:
        async def see() -> None:
            try:
                value = await call
            except Exception as error:
                observe({"call": name, **failure_view(error)})
            else:
                observe({"call": name, "ok": result(value)})

        self._begin(see())

    async def _see_ready(self, name: str, made: Subscription) -> None:
        try:
            await made.ready()
        except NotificationError as error:
            observe({"ready": name, **failure_view(error)})
        else:
            observe({"ready": name})

    def _begin(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _handler(
        self, name: str, behaviours: dict[str, Any]
    ) -> Callable[[NotificationMessage[Any]], Awaitable[None]]:
        async def handle(message: NotificationMessage[Any]) -> None:
            payload = message.payload
            observe({**sparse(got=payload), "by": name, **sparse(replayed=message.replayed)})
            behaviour = behaviours.get(json.dumps(payload), behaviours.get("*"))
            if behaviour == "throw":
                raise ValueError("thrown by the handler")
            if behaviour == "pause":
                await asyncio.sleep(PAUSE)
            if behaviour == "wait":
                released = asyncio.Event()
                self._waiting.setdefault(name, deque()).append(released)
                await released.wait()
                observe({"done": payload, "by": name})
            if isinstance(behaviour, list):
                for command in behaviour:
                    self.run(command)

        return handle


def _auth_of(auth: str | list[str]) -> Auth:
    """Answer one after the other what the scenario lists; the last one for ever."""
    if isinstance(auth, str):
        return auth
    answers = deque(auth)

    async def token() -> str:
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        observe({"token": answer})
        if answer == "temporary":
            raise OSError("the token server is away")
        if answer == "final":
            raise NotificationError("UNAUTHENTICATED", "no such user")
        return answer

    return token


async def main() -> None:
    """Run commands until stdin ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    driver = Driver(sys.argv[1])
    async for line in reader:
        driver.run(json.loads(line))
    os._exit(0)  # as a process that is killed: no goodbye


if __name__ == "__main__":
    asyncio.run(main())
