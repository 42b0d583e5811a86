"""docs/protocol.md against the code and a real server, so that the page cannot drift."""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from drf_spectacular.generators import SchemaGenerator
from msgspec import inspect
from playwright.sync_api import sync_playwright
from websockets.sync.client import ClientConnection, connect

from notifications.conf import Conf
from notifications.errors import ERRORS
from notifications.protocol import limits, values
from notifications.protocol.codec import SUBPROTOCOLS, JsonCodec
from notifications.protocol.codes import CloseCode, is_announced, reconnects
from notifications.protocol.frames import Auth, ClientFrame, ServerFrame
from notifications.protocol.refusals import SERVED
from notifications.services.subscriptions import MAX_PATTERNS, MAX_SUBSCRIPTIONS
from notifications.topics import grammar
from tests.deployment import ROOT, Deployment, Server

PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")

Row = dict[str, str]


# --- Reading the page ---------------------------------------------------------------------------


def section(heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above."""
    level = heading.split(" ", 1)[0]
    start = PAGE.index(f"\n{heading}") + 1
    following = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(PAGE, start + 1)
    return PAGE[start : following.start() if following else len(PAGE)]


def tables(text: str) -> Iterator[list[Row]]:
    """Yield each table as rows by column; code marks stay."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = [
            [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
            for line in block.splitlines()
        ]
        yield [dict(zip(head, row, strict=True)) for row in rows]


def table(heading: str, *columns: str) -> list[Row]:
    """Return the one table under a heading that has these columns."""
    (found,) = [rows for rows in tables(section(heading)) if set(columns) <= set(rows[0])]
    return found


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def bare(cell: str) -> str:
    return cell.strip("`")


# --- Frames -------------------------------------------------------------------------------------


def by_type(union: Any) -> dict[str, type[msgspec.Struct]]:
    return {str(frame.__struct_config__.tag): frame for frame in get_args(union)}


CLIENT, SERVER = by_type(ClientFrame), by_type(ServerFrame)
FRAMES = [("2", name, frame) for name, frame in CLIENT.items()] + [
    ("3", name, frame) for name, frame in SERVER.items()
]
TITLES = {"2": "## 2. Frames from client to server", "3": "## 3. Frames from server to client"}

CHECKED_LATER = {("replay", "cursor"), ("ack", "cursor")}
"""Fields that a frame cannot do without, though its record gives them a default."""


def test_every_client_frame_is_listed_and_its_being_served() -> None:
    rows = table(TITLES["2"], "type", "served")
    served = {frame.__struct_config__.tag for frame in SERVED | {Auth}}
    assert {bare(row["type"]): row["served"] for row in rows} == {
        name: "yes" if name in served else "not yet" for name in CLIENT
    }


def test_every_server_frame_is_listed_and_its_being_sent() -> None:
    rooms = ROOT / "notifications"
    sources = [*(rooms / "gateway").glob("*.py"), rooms / "protocol" / "conversation.py"]
    made = {
        node.func.id
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    # The hub encodes messages from their stored parts, without the record.
    sent = {name for name, frame in SERVER.items() if frame.__name__ in made} | {"message"}
    assert {bare(row["type"]): row["sent"] for row in table(TITLES["3"], "type", "sent")} == {
        name: "yes" if name in sent else "not yet" for name in SERVER
    }


def fields(described: inspect.Type, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the path of each field, inner ones too, and whether it is required."""
    match described:
        case inspect.Metadata():
            yield from fields(described.type, path)
        case inspect.UnionType():
            for member in described.types:
                yield from fields(member, path)
        case inspect.VarTupleType() | inspect.ListType():
            yield from fields(described.item_type, path)
        case inspect.StructType():
            for field in described.fields:
                inner = f"{path}.{field.encode_name}".lstrip(".")
                yield inner, field.required
                yield from fields(field.type, inner)


@pytest.mark.parametrize(
    ("number", "name", "frame"), FRAMES, ids=[f"{n}-{t}" for n, t, _ in FRAMES]
)
def test_every_field_is_listed(number: str, name: str, frame: type[msgspec.Struct]) -> None:
    yes, no = ("must", "may") if number == "2" else ("always", "sometimes")
    part = section(TITLES[number])
    start = part.index(f"\n### `{name}`\n")
    rows = next(rows for rows in tables(part[start:]) if "field" in rows[0])
    listed = {bare(row["field"]): row["sent"] for row in rows}
    known = {
        path: yes if is_required or (name, path) in CHECKED_LATER else no
        for path, is_required in fields(inspect.type_info(frame))
    }
    assert listed.items() <= known.items()
    for path in known.keys() - listed.keys():
        # A record stands in one row of its own, or in one row for each of its fields.
        parents = [path.rsplit(".", depth)[0] for depth in range(1, path.count(".") + 1)]
        is_folded = any(
            parent in listed and not any(other.startswith(f"{parent}.") for other in listed)
            for parent in parents
        )
        is_spread = any(other.startswith(f"{path}.") for other in listed)
        assert is_folded or is_spread, path


@pytest.mark.parametrize("text", blocks("json"))
def test_the_examples_are_frames(text: str) -> None:
    frame = (
        JsonCodec().decode_client(text)
        if json.loads(text)["type"] in CLIENT
        else msgspec.json.decode(text, type=ServerFrame)
    )
    # Equal, so no key is one that a reader would skip.
    assert json.loads(msgspec.json.encode(frame)) == json.loads(text)


# --- Codes, bounds, names -----------------------------------------------------------------------


def test_every_error() -> None:
    assert {
        bare(row["code"]): (int(row["HTTP"]), row["temporary"] == "yes")
        for row in table("## 4. Errors", "code", "HTTP")
    } == {code: (error.status, error.temporary) for code, error in ERRORS.items()}


BEFORE_OPEN = {CloseCode.AUTH_TIMEOUT, CloseCode.AUTHENTICATION_FAILED, CloseCode.AUTH_EXPECTED}
"""Codes that only a connection without auth_success is closed with."""


def test_every_close_code() -> None:
    rows = table("## 5. Close codes", "code", "the client")
    assert {int(row["code"]): (row["the client"], row["`disconnect` first"]) for row in rows} == {
        code: (
            "reconnects" if reconnects(code) else "stops",
            "yes" if is_announced(code) and code not in BEFORE_OPEN else "no",
        )
        for code in map(int, CloseCode)
    }


def test_the_ranges_of_close_codes() -> None:
    duties: dict[int, str] = {}
    *ranges, others = table("## 5. Close codes", "codes", "the client")
    assert others["codes"] == "any other"
    for row in ranges:
        for part in row["codes"].split(", "):
            first, _, last = part.partition("–")
            duties |= dict.fromkeys(range(int(first), int(last or first) + 1), row["the client"])
    for code in range(1000, 5001):
        expected = "reconnects" if reconnects(code) else "stops"
        assert duties.get(code, others["the client"]) == expected, code


def test_every_subprotocol() -> None:
    rows = table("## 1. Connection", "subprotocol", "served")
    assert {bare(row["subprotocol"]) for row in rows if row["served"] == "yes"} == set(SUBPROTOCOLS)


def test_the_bounds() -> None:
    figures = {
        row["bound"].split(",")[0]: int(row["figure"].split(" ")[0].replace(",", ""))
        for row in table("### Bounds", "bound", "figure")
    }
    texts = {
        name: max(found.max_length or 0 for found in _texts(inspect.type_info(record)))
        for name, record in (("id", values.RequestId), ("key", values.Key128))
    }
    assert figures == {
        "a WebSocket message": limits.FRAME_BYTES,
        "the first message": limits.AUTH_BYTES,
        "a payload": limits.PAYLOAD_BYTES,
        "frames in a batch": limits.BATCH_FRAMES,
        "levels of nesting": limits.MAX_DEPTH,
        "keys in one object": limits.MAX_KEYS,
        "an `id` that is text": texts["id"],
        "`clientId`": texts["key"],
        "subscriptions of a client": MAX_SUBSCRIPTIONS,
        "patterns among them": MAX_PATTERNS,
    }
    grammar_text = section("### Topics and patterns")
    assert f"*{grammar.MAX_SEGMENTS - 1}( " in grammar_text
    assert f"1*{grammar.MAX_SEGMENT}( " in grammar_text
    assert f"at most {grammar.MAX_BYTES} bytes" in grammar_text


def _texts(described: inspect.Type) -> Iterator[inspect.StrType]:
    match described:
        case inspect.StrType():
            yield described
        case inspect.Metadata():
            yield from _texts(described.type)
        case inspect.UnionType():
            for member in described.types:
                yield from _texts(member)


def test_every_setting_and_its_default() -> None:
    defaults = Conf()
    for row in table("## 8. Names that tools rely on", "setting", "default"):
        name = bare(row["setting"]).removeprefix("NOTIFICATIONS_").removesuffix("_SECONDS")
        default = getattr(defaults, name.lower())
        shown = str(int(default)) if default else "empty"
        assert row["default"].split(":")[0] == shown, name


def test_every_vector_file_is_named() -> None:
    for path in (ROOT / "tests" / "vectors").iterdir():
        assert f"`tests/vectors/{path.name}`" in PAGE


def test_every_rest_call() -> None:
    generator: Any = SchemaGenerator  # drf-spectacular has no types
    schema = generator().get_schema(request=None, public=True)
    served = {
        f"{method.upper()} {path}" for path, item in schema["paths"].items() for method in item
    }
    rows = {bare(row["call"]): row["answers"] for row in table("## 7. REST", "call", "answers")}
    missing = {call for call, answers in rows.items() if "**Not served yet**" in answers}
    assert rows.keys() - missing == served
    assert missing.isdisjoint(served)


# --- The page's sessions and programs, for real -------------------------------------------------

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
PARTS = {"cut": ".*", "uuid": UUID, "instant": INSTANT}
VOLATILE = re.compile(
    rf"(?P<cut>…)|(?P<uuid>{UUID})|(?P<instant>{INSTANT})"
    r'|(?<="sessionId":")[^"]+|(?<="serverId":")[^"]+|(?<="epoch":")[^"]+'
)
"""What differs from run to run, and `…`."""

KEY = re.compile(r"bw_[0-9a-f]+_…")


FIRST = next(line for line in PAGE.splitlines() if "manage.py create_api_key" in line)
PREPARED = pytest.mark.prepared(tuple(shlex.split(FIRST.removeprefix("$ "))[2:]))


@pytest.fixture
def key(embedded: Deployment) -> str:
    """The key that the page's first command makes; mark the test PREPARED."""
    return embedded.printed[1]


def shape(line: str) -> re.Pattern[str]:
    """Return what a line of the page matches in another run; each volatile part is a group."""
    text, end = "", 0
    for found in VOLATILE.finditer(line):
        group = PARTS.get(found.lastgroup or "", '[^"]+')
        text += f"{re.escape(line[end : found.start()])}({group})"
        end = found.end()
    return re.compile(text + re.escape(line[end:]))


def replay(socket: ClientConnection, lines: list[str], key: str, actual: dict[str, str]) -> None:
    """Send what the page sent, and receive what it received, messages and replies in any order.

    actual: what an id, secret or epoch of the page is in this run; grows.
    """
    awaited: list[str] = []

    def receive() -> None:
        while awaited:
            got = socket.recv(timeout=10)
            assert isinstance(got, str)
            matches = [(line, found) for line in awaited if (found := shape(line).fullmatch(got))]
            assert matches, f"{got} is none of {awaited}"
            line, match = matches[0]
            awaited.remove(line)
            ids = [found.group() for found in VOLATILE.finditer(line)]
            actual.update(dict(zip(ids, match.groups(), strict=True)))

    for line in lines:
        if line.startswith("< "):
            awaited.append(line.removeprefix("< "))
        elif line.startswith("> "):
            receive()
            sent = KEY.sub(key, line.removeprefix("> "))
            socket.send(VOLATILE.sub(lambda found: actual.get(found.group(), found.group()), sent))
    receive()


@pytest.mark.server
@pytest.mark.sqlite
@PREPARED
def test_the_sessions_on_the_page(embedded: Deployment, key: str) -> None:
    server = embedded.start()
    sessions = blocks("console")
    assert sessions
    actual: dict[str, str] = {}
    for text in sessions:
        with connect(server.socket_url) as socket:
            replay(socket, text.splitlines(), key, actual)


BEAT = {
    "NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS": "1",
    "NOTIFICATIONS_HEARTBEAT_TIMEOUT_SECONDS": "3",
}


def follow(deployment: Deployment, server: Server, key: str, said: Callable[[], list[str]]) -> None:
    """Take a client of the page through messages, a restart, a server that hangs, a new epoch of
    the log, and its end."""

    def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, said()
            time.sleep(0.05)

    def heard(text: str) -> int:
        return sum(text in line for line in said())

    def resumed() -> int:
        return sum("connected, resumed: true" in line.lower() for line in said())

    def session() -> dict[str, Any]:
        answer = server.request("GET", "/api/v1/sessions?state=connected", key=key)
        return next(iter(answer.body["sessions"]), {})

    def reach(payload: str) -> None:
        assert server.publish(key, "user.7.orders", payload).status == 201
        wait(lambda: heard(f'user.7.orders "{payload}"'))

    wait(lambda: session().get("subscriptions"))
    reach("first")

    server.stop()
    wait(lambda: heard("closed with 1012"))
    deployment.manage("publish", "user.7.orders", '"missed"')  # into the log; nobody relays it
    server = deployment.start(port=server.port)
    wait(resumed)
    wait(lambda: heard('user.7.orders "missed"'))
    reach("second")

    lost = heard("closed with 1006")
    server.process.send_signal(signal.SIGSTOP)  # the socket stays open, and nobody answers
    wait(lambda: heard("closed with 1006") > lost)
    server.process.send_signal(signal.SIGCONT)
    wait(lambda: resumed() >= 2)
    reach("third")

    assert not heard("messages may be missing")
    deployment.manage("new_epoch")
    wait(lambda: heard("messages may be missing: EPOCH_CHANGED"))
    reach("fourth")
    assert heard("user.7.orders") == 5, "each once"

    wait(session)
    handle = session()["id"]
    ended = server.request("POST", f"/api/v1/sessions/{handle}/disconnect", key=key)
    assert ended.status == 202
    wait(lambda: heard("closed with 4503"))


@pytest.mark.server
@pytest.mark.sqlite
@PREPARED
def test_the_python_client(embedded: Deployment, key: str, tmp_path: Path) -> None:
    embedded.env.update(BEAT)
    server = embedded.start()
    (program,) = blocks("python")
    script, output = tmp_path / "client.py", tmp_path / "output"
    script.write_text(program, encoding="utf-8")
    with output.open("wb") as stream:
        client = subprocess.Popen(
            [sys.executable, script, server.socket_url, key, "user.7.*"],
            stdout=stream,
            stderr=stream,
            env={"PATH": os.environ["PATH"]},
        )
    try:
        follow(embedded, server, key, lambda: output.read_text(encoding="utf-8").splitlines())
        assert client.wait(10) == 1
    finally:
        client.kill()
        client.wait(10)


@pytest.mark.server
@pytest.mark.sqlite
@pytest.mark.browser
@PREPARED
def test_the_browser_client(embedded: Deployment, key: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium is here")
    embedded.env.update(BEAT)
    server = embedded.start()
    (program,) = blocks("javascript")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{server.url}/healthz")  # any page of the server: its origin is what counts
        page.evaluate(
            f"""([url, key]) => {{
                {program}
                window.said = [];
                const say = (...words) => said.push(words.join(" "));
                const handle = ({{ topic, payload }}) => say(topic, JSON.stringify(payload));
                follow(url, key, "user.7.*", handle, say);
            }}""",
            [server.socket_url, key],
        )
        follow(embedded, server, key, lambda: page.evaluate("said"))
        browser.close()
