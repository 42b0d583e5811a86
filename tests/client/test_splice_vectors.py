"""What handlers and cursor make of replays, by the rows that the TypeScript client runs too."""

from typing import Any

import pytest

from tests.client.fake_server import held, message
from tests.client.memory import MemorySocket
from tests.client.vectors import vectors
from tests.client.virtual import virtual
from tests.client.world import Handler, World, grant, settle, without_type

COMPLETE: dict[str, dict[str, Any]] = {
    "message": {key: value for key, value in message(1).items() if key not in ("seq", "position")},
    "replay_complete": {"count": 0},
    "pong": {"serverTime": ""},
}


class Played:
    """A client, one subscription, and the server of a row."""

    def __init__(self) -> None:
        self.world = World()
        self.handler = Handler()
        self.socket: MemorySocket | None = None
        self.asked: dict[str, Any] = {}

    async def connection(self, frame: dict[str, Any]) -> None:
        asks, frame = frame.get("asks"), {k: v for k, v in frame.items() if k != "asks"}
        if self.socket is None:
            self.world.client.subscribe("a.*", self.handler)
            self.world.connecting()
            self.socket = await self.world.accept(**frame)
            grant(self.socket, await self.socket.expect("subscribe"))
            return
        self.socket.shut(1006)
        self.socket = await self.world.accept(subscriptions=[held("a.*")], **frame)
        if asks is not None:
            assert self.world.hello["resume"]["cursor"] == asks

    async def play(self, step: Any) -> None:
        match step:
            case "hold":
                self.handler.goes_on.clear()
            case "release":
                self.handler.goes_on.set()
            case {"type": "auth_success"}:
                await self.connection(step)
            case {"type": kind}:
                await self.frame(kind, step)
            case {"cursor": cursor}:
                assert self.cursor() == cursor
            case _:
                raise AssertionError(step)
        await settle()

    async def frame(self, kind: str, step: dict[str, Any]) -> None:
        assert self.socket is not None
        whole = without_type(COMPLETE.get(kind, {}) | step)
        for frame in self.socket.sent():
            self.asked[frame["type"]] = frame["id"]
        if "answers" in whole:
            whole["id"] = self.asked[whole.pop("answers")]
        self.socket.push(kind, **whole)

    def cursor(self) -> Any:
        here = self.world.client.get_cursor()
        return None if here is None else here.to_wire()


@pytest.mark.parametrize("row", vectors("splice")["rows"], ids=lambda row: row["name"])
@virtual
async def test_the_client_does_as_the_vectors_say(row: dict[str, Any]) -> None:
    played = Played()
    async with played.world:
        for step in row["frames"]:
            await played.play(step)
        assert played.cursor() == row["cursor"]
        positions = [message.position for message in played.handler.messages]
        handled = [None if position is None else list(position) for position in positions]
        assert handled == row["handled"]
