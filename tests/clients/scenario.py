"""Play a scenario of tests/vectors/traces to a client, and record its trace."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from websockets.exceptions import ConnectionClosed

from tests.clients.driver_process import WAIT, Client, DriverEnded, DriverProcess
from tests.clients.normal import TOKEN, Normal
from tests.clients.scripted_server import ScriptedServer, headers_of

FOLDER: Final = Path(__file__).parent.parent / "vectors/traces"
RECORDED: Final = ("frame", "seen")
QUIET: Final = 0.05
"""Seconds in which what must not follow would follow."""

# Short, and without chance: what a scenario does not say about retries.
_CONFIG: Final = {
    "auth": TOKEN,
    "retryConfig": {
        "maxRetries": 0,
        "initialDelay": 20,
        "maxDelay": 1_000,
        "backoffMultiplier": 2,
        "jitter": False,
    },
}

Step = dict[str, Any]
Trace = list[Step]


@dataclass(frozen=True)
class Scenario:
    """One file. steps: what happens, and between it the trace that is expected."""

    name: str
    about: str
    steps: list[Step]
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def trace(self) -> Trace:
        """What every client's trace must be."""
        return [_sorted(step) for step in self.steps if step.keys() & set(RECORDED)]


def scenarios() -> list[Scenario]:
    """Read all scenarios."""
    return [
        Scenario(path.stem, **json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(FOLDER.glob("*.json"))
    ]


async def play(
    scenario: Scenario, client: Client, directory: Path, *, patience: float = WAIT
) -> Trace:
    """Play a scenario and return the trace: up to the first difference, then what else came.

    patience: seconds in which what is expected must come.
    """
    async with _Play(scenario, client, directory / "storage.json", patience) as played:
        await played.run()
        return played.trace


class _Play:
    def __init__(self, scenario: Scenario, client: Client, storage: Path, patience: float) -> None:
        self.trace: Trace = []
        self._patience = patience
        self._scenario = scenario
        self._client = client
        self._storage = storage
        self._server = ScriptedServer(Normal(_keys(scenario.steps)))
        self._driver: DriverProcess

    async def __aenter__(self) -> "_Play":
        await self._server.__aenter__()
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._driver.__aexit__()
        await self._server.__aexit__()

    async def run(self) -> None:
        """Take the steps until one brings something else than it says; add what is left over."""
        for step in self._scenario.steps:
            try:
                if not await self._take(step):
                    break
            except (TimeoutError, DriverEnded, ConnectionClosed):
                self.trace.append({"never came": step})
                break
        with suppress(DriverEnded, ConnectionClosed):
            await self._quiet()
        self._leave("frame", self._server.frames)
        self._leave("seen", self._driver.observations)
        if self._driver.complaints:
            self.trace.append({"stderr": self._driver.complaints.decode()})

    async def _take(self, step: Step) -> bool:
        """Take one step; tell whether all is as it says."""
        match step:
            case {"app": command}:
                await self._settle()
                self._driver.tell(**command)
                await self._driver.settle()
            case {"accept": _}:
                await self._server.accept()
            case {"refuse": status}:
                self._server.refuse(status, headers_of(step))
            case {"send": frame}:
                await self._server.send(frame)
            case {"text": text}:
                await self._server.text(text)
            case {"binary": text}:
                await self._server.text(text.encode())
            case {"close": code}:
                await self._server.close(code)
            case {"drop": _}:
                self._server.drop()
            case {"reload": _}:
                await self._driver.__aexit__()
                await self._start()
            case {"stored": offsets}:
                await self._until_stored(offsets)
            case {"frame": _} | {"seen": _}:
                return await self._record(step)
            case _:
                raise ValueError(f"no such step: {step}")
        return True

    async def _record(self, step: Step) -> bool:
        (kind,) = step
        queue = self._server.frames if kind == "frame" else self._driver.observations
        wanted = step[kind]
        async with asyncio.timeout(self._patience):
            came = [await queue.get() for _ in range(_length(wanted))]
        self.trace.append(_sorted({kind: came if isinstance(wanted, list) else came[0]}))
        return self.trace[-1] == _sorted(step)

    def _leave(self, kind: str, queue: asyncio.Queue[dict[str, Any]]) -> None:
        while not queue.empty():
            self.trace.append({kind: queue.get_nowait()})

    async def _start(self) -> None:
        self._driver = DriverProcess(self._client, self._storage)
        await self._driver.__aenter__()
        config = {"url": self._server.url} | _CONFIG | self._scenario.config
        config = {name: value for name, value in config.items() if value is not None}
        self._driver.tell("new", config=config)
        await self._driver.settle()

    async def _settle(self) -> None:
        await self._server.settle()
        await self._driver.settle()

    async def _quiet(self) -> None:
        await self._settle()
        await asyncio.sleep(QUIET)
        await self._settle()

    async def _until_stored(self, offsets: dict[str, int]) -> None:
        """Wait until a cursor with these offsets is in the client's storage."""
        async with asyncio.timeout(WAIT):
            while self._stored_offsets() != offsets:
                await asyncio.sleep(0.01)

    def _stored_offsets(self) -> dict[str, int] | None:
        try:
            states = [json.loads(text) for text in json.loads(self._storage.read_text()).values()]
        except (OSError, ValueError):
            return None
        cursors = [state["cursor"] for state in states if "cursor" in state]
        return cursors[0]["offsets"] if cursors else None


def _length(wanted: Any) -> int:
    return len(wanted) if isinstance(wanted, list) else 1


def _sorted(step: Step) -> Step:
    """Order what may come in any order."""
    return {
        kind: sorted(value, key=json.dumps) if isinstance(value, list) else value
        for kind, value in step.items()
    }


def _keys(steps: list[Step]) -> frozenset[str]:
    """Find the idempotency keys that the application gives."""
    options = [step["app"].get("options") or {} for step in steps if "app" in step]
    return frozenset(one["idempotencyKey"] for one in options if "idempotencyKey" in one)
