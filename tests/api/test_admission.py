"""What is refused before a body is read: over the number of requests, over their bytes, over both
when the log has no room; by the short way and by the view's."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from accounts.services import create_api_key
from notifications.api import asgi as asgi_module
from notifications.api import lean as lean_module
from notifications.api.admission import Admission
from notifications.api.bodies import BATCH_BYTES, SINGLE_BYTES
from notifications.api.lean import BATCH, SINGLE, LeanPublish
from notifications.database import in_database
from notifications.errors import Overloaded, RateLimited
from notifications.log.append_queue import AppendQueue
from notifications.models import Message
from notifications.process import stop_process
from notifications.services.writer import writer

pytestmark = pytest.mark.django_db(transaction=True)

ONE = json.dumps({"topic": "a.b", "payload": 1}).encode()
WAIT = 10.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold no refusal back."""
    monkeypatch.setattr(lean_module, "REFUSAL_PAUSE", 0)


@pytest.fixture
async def keys() -> AsyncIterator[list[str]]:
    made = [
        (await in_database(create_api_key, name=name, publish=["a.*"], subscribe=[]))[1]
        for name in "abc"
    ]
    yield made
    await stop_process()


class Request:
    """A request whose body comes when the test says so."""

    def __init__(
        self, app: Any, key: str = "", *, path: str = SINGLE, length: int | None = None
    ) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
        if key:
            headers.append((b"authorization", f"Api-Key {key}".encode()))
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        self.reading.set()
        return await self.events.get()

    async def _send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    async def until_reading(self) -> "Request":
        async with asyncio.timeout(WAIT):
            await self.reading.wait()
        return self

    async def answer(self, body: bytes | None = None) -> tuple[int, str | None]:
        """Send the body, if any; return the status and the code of a refusal."""
        if body is not None:
            self.events.put_nowait({"type": "http.request", "body": body})
        async with asyncio.timeout(WAIT):
            await self.task
        status = self.sent[0]["status"]
        if status in (429, 503):
            assert dict(self.sent[0]["headers"])[b"retry-after"] == b"1"
        return status, json.loads(self.sent[1]["body"]).get("code")


async def never(*_: Any) -> None:
    raise AssertionError("this request takes the short way")


async def test_requests_are_bounded_and_shared(keys: list[str]) -> None:
    app = LeanPublish(never, admission=Admission(requests=4))
    first = [await Request(app, keys[0]).until_reading() for _ in range(2)]
    assert await Request(app, keys[0]).answer() == (429, "RATE_LIMITED")
    second = await Request(app, keys[1]).until_reading()
    assert await Request(app, keys[1]).answer() == (429, "RATE_LIMITED")
    third = await Request(app, keys[2]).until_reading()
    assert await Request(app, "bw_stranger").answer() == (503, "OVERLOADED")
    assert (await first[0].answer(ONE))[0] == 201
    assert (await Request(app, keys[1]).answer()) == (429, "RATE_LIMITED")
    for request in (first[1], second, third):
        assert (await request.answer(ONE))[0] == 201
    assert app._admission.requests.used == app._admission.body_bytes.used == 0


async def test_bodies_are_bounded_in_all_before_they_are_read(keys: list[str]) -> None:
    app = LeanPublish(never, admission=Admission(body_bytes=BATCH_BYTES))
    half = BATCH_BYTES // 2
    first = await Request(app, keys[0], path=BATCH, length=half).until_reading()
    assert await Request(app, keys[0], length=10).answer() == (429, "RATE_LIMITED")
    assert await Request(app, keys[1], path=BATCH, length=half + 1).answer() == (503, "OVERLOADED")
    # One that does not say how long it is counts as the longest.
    assert await Request(app, keys[1], path=BATCH).answer() == (503, "OVERLOADED")
    second = await Request(app, keys[1], length=100).until_reading()
    assert (await second.answer(ONE))[0] == 201
    assert (await first.answer(b'{"messages":[' + ONE + b"]}"))[0] == 200
    assert app._admission.body_bytes.used == 0


@pytest.mark.parametrize(
    ("path", "most"), [(SINGLE, SINGLE_BYTES), (BATCH, BATCH_BYTES)], ids=["single", "batch"]
)
async def test_a_body_that_says_it_is_too_large_is_not_read(
    keys: list[str], path: str, most: int
) -> None:
    app = LeanPublish(never, admission=Admission())
    request = Request(app, keys[0], path=path, length=most + 1)
    assert await request.answer() == (413, "PAYLOAD_TOO_LARGE")
    assert not request.reading.is_set()


async def test_what_goes_wrong_gives_everything_back(keys: list[str]) -> None:
    app = LeanPublish(never, admission=Admission())
    for request, body in (
        (Request(app, keys[0]), b"nonsense"),
        (Request(app, "bw_stranger"), None),
        (Request(app, keys[0], length=10), b"x" * (SINGLE_BYTES + 1)),
    ):
        assert (await request.answer(body))[0] in (400, 401, 413)
    gone = await Request(app, keys[0]).until_reading()
    gone.events.put_nowait({"type": "http.disconnect"})
    await gone.task
    assert gone.sent == []
    assert app._admission.requests.used == app._admission.body_bytes.used == 0


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(
    keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_module, "BODY_DEADLINE", 0.05)
    app = LeanPublish(never, admission=Admission())
    assert await Request(app, keys[0]).answer() == (400, "BAD_FRAME")
    assert app._admission.requests.used == 0


async def test_nor_is_one_that_the_view_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def view(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        heard = asyncio.create_task(receive())  # Django listens for who goes away meanwhile
        await asyncio.wait([heard], timeout=0.2)
        assert not heard.done(), "the deadline is the body's only"
        heard.cancel()
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    monkeypatch.setattr(lean_module, "BODY_DEADLINE", 0.1)
    app = LeanPublish(view, admission=Admission())
    slow = Request(app, length=100)
    slow.events.put_nowait({"type": "http.request", "body": b"x", "more_body": True})
    assert await slow.answer() == (400, "BAD_FRAME")
    assert app._admission.requests.used == 0
    assert (await Request(app).answer(b"x"))[0] == 299


async def test_when_the_log_has_no_room_no_body_is_read(
    keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = LeanPublish(never, admission=Admission())
    assert (await Request(app, keys[0]).answer(ONE))[0] == 201
    full = AppendQueue(bound=0)
    monkeypatch.setattr(writer(), "queue", full)
    request = Request(app, keys[0])
    assert await request.answer() == (503, "OVERLOADED")
    assert not request.reading.is_set()
    monkeypatch.undo()
    assert await in_database(Message.objects.count) == 1


async def test_the_views_way_passes_the_same_bounds() -> None:
    bodies: list[bytes] = []
    entered = asyncio.Event()

    async def view(scope: Any, receive: Any, send: Any) -> None:
        entered.set()
        body = b""
        more = True
        while more:
            event = await receive()
            body += event["body"]
            more = event.get("more_body", False)
        bodies.append(body)
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    app = LeanPublish(view, admission=Admission(requests=2, body_bytes=3 * SINGLE_BYTES))
    one = await Request(app).until_reading()
    assert entered.is_set()
    assert await Request(app).answer() == (429, "RATE_LIMITED")
    assert (await one.answer(b"x"))[0] == 299
    large = await Request(app, length=10**12).until_reading()
    for _ in range(3):
        large.events.put_nowait(
            {"type": "http.request", "body": b"x" * SINGLE_BYTES, "more_body": True}
        )
    assert (await large.answer())[0] == 299
    assert [len(body) for body in bodies] == [1, SINGLE_BYTES + 1], "what is too large ends there"
    assert app._admission.requests.used == app._admission.body_bytes.used == 0


def test_the_two_refusals() -> None:
    admission = Admission(requests=2)
    with admission.enter("a"), pytest.raises(RateLimited):
        admission.enter("a")
    with admission.enter("a"), admission.enter("b"), pytest.raises(Overloaded):
        admission.enter("c")


async def test_refusals_are_held_back_but_not_more_of_them_than_is_bearable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lean_module, "REFUSAL_PAUSE", 600)
    monkeypatch.setattr(lean_module, "REFUSALS", 2)
    app = LeanPublish(never, admission=Admission(requests=0))
    held = [Request(app, "bw_a"), Request(app, "bw_b")]
    await asyncio.sleep(0)
    assert app._held_back == 2
    assert await Request(app, "bw_c").answer() == (503, "OVERLOADED")
    assert [request.sent for request in held] == [[], []]
    for request in held:
        request.task.cancel()
    await asyncio.gather(*(request.task for request in held), return_exceptions=True)
    assert app._held_back == 0
