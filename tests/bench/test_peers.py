"""What is said to other people's servers, and what is said when they are missing."""

import json
from typing import Any

import pytest

from bench import command, fanout
from bench.load.dialects import DIALECTS, Refused, Returning, Target
from bench.load.frames import Opcode
from bench.load.sinks import NatsSink, StreamSink
from bench.load.tally import Tally, parse
from bench.peers import PEERS
from bench.servers.elsewhere import Elsewhere, Unreachable
from tests.bench.test_connection import begin, switch
from tests.bench.test_frames import server_frame
from tests.bench.test_tally import STAMP


def target(dialect: str, **changed: Any) -> Target:
    return Target(dialect, 1, "bench.fanout", "", "7")._replace(**changed)


def test_nats_is_subscribed_when_the_ping_after_it_is_answered() -> None:
    talk = target("nats").converse(0)
    assert next(talk) is None
    said = talk.send(b'INFO {"server_id":"x"}\r\n')
    assert said is not None
    assert said.endswith(b"\r\nSUB bench.fanout 1\r\nPING\r\n")
    with pytest.raises(StopIteration):
        talk.send(b"PONG\r\n")


def test_an_error_of_nats_is_a_refusal() -> None:
    talk = target("nats").converse(0)
    next(talk)
    talk.send(b"INFO {}\r\n")
    with pytest.raises(Refused, match="Maximum Connections"):
        talk.send(b"-ERR 'Maximum Connections Exceeded'\r\n")


def test_socketio_opens_and_then_connects() -> None:
    talk = target("socketio").converse(0)
    assert next(talk) is None
    assert talk.send(b'0{"sid":"a"}') == b"40"
    with pytest.raises(StopIteration):
        talk.send(b'40{"sid":"b"}')


async def test_where_nothing_is_said_the_upgrade_subscribes() -> None:
    opening, wire = begin(target("nchan"), Tally())
    assert wire.written.startswith(b"GET /sub/bench.fanout HTTP/1.1\r\n")
    opening.data_received(switch(wire))
    assert wire.protocol is opening.subscribed.result()


def test_a_path_of_its_own_replaces_the_dialects() -> None:
    assert target("ours", url_path="/other?x=1").path == "/other?x=1"
    assert target("baseline").path == "/ws/bench.fanout/"


def test_ours_comes_back_with_what_it_remembers() -> None:
    first = target("ours").converse(3)
    next(first)
    first.send(json.dumps({"type": "auth_success", "sessionId": "s", "cursor": {"e": 1}}).encode())
    with pytest.raises(StopIteration) as end:
        first.send(b'{"type":"subscribed","id":1}')
    again = Returning(target("ours"), end.value.value).converse(3)
    said = next(again)
    assert said is not None
    assert json.loads(said)["resume"] == {"sessionId": "s", "cursor": {"e": 1}}
    assert json.loads(said)["clientId"] == "bench-7-3"
    assert again.send(b'{"type":"auth_success","sessionId":"s","resumed":true}') is None
    with pytest.raises(StopIteration):
        again.send(b'{"type":"replay_complete","recovered":true,"cursor":{"e":2}}')


def test_a_session_that_is_not_resumed_is_a_refusal() -> None:
    again = Returning(target("ours"), {"sessionId": "s", "cursor": {}}).converse(3)
    next(again)
    with pytest.raises(Refused):
        again.send(b'{"type":"auth_success","sessionId":"t","resumed":false}')


def test_several_messages_in_one_frame_are_all_counted() -> None:
    joined = b'MSG a 1 9\r\n{"t":%d}\r\nMSG a 1 9\r\n{"t":%d}\r\n' % (STAMP, STAMP + 1)
    assert parse(server_frame(Opcode.BINARY, joined)).stamps == (STAMP, STAMP + 1)


async def test_a_server_that_asks_for_life_is_answered_by_its_dialect() -> None:
    opening, wire = begin(target("nats"), Tally())
    opening._replies = DIALECTS["nats"].replies
    opening.data_received(switch(wire))
    opening.data_received(server_frame(Opcode.BINARY, b"INFO {}\r\n"))
    opening.data_received(server_frame(Opcode.BINARY, b"PONG\r\n"))
    wire.written = b""
    wire.protocol.data_received(server_frame(Opcode.BINARY, b"PING\r\n"))
    mask, body = wire.written[2:6], wire.written[6:]
    assert bytes(b ^ mask[i % 4] for i, b in enumerate(body)) == b"PONG\r\n"


def test_messages_on_a_stream_carry_their_length() -> None:
    assert StreamSink(host="h", port=1).framed(b"abc") == b"\0\0\0\x03abc"
    assert NatsSink(host="h", port=1, topic="a.b").framed(b"abc") == b"PUB a.b 3\r\nabc\r\n"


def chosen(*arguments: str) -> Any:
    return fanout.options([*arguments])


def test_a_peer_that_is_not_installed_is_left_out_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    sides = command.contenders(chosen("--only", "peers", "--peer", "nats"))
    assert sides == []
    assert "nats is left out, it is not installed: apt install nats-server" in (
        capsys.readouterr().err
    )


def test_every_peer_has_its_name() -> None:
    assert {name: make("run").name for name, make in PEERS.items()} == {
        name: name for name in PEERS
    }


def elsewhere(**changed: Any) -> Elsewhere:
    given: dict[str, Any] = {
        "url": "ws://127.0.0.1:8000",
        "dialect": "ours",
        "publish": "",
        "token": "k",
    }
    return Elsewhere(**given | {"pid": 0, "run": "7", "topic": ""} | changed)


async def test_ours_by_url_is_published_to_over_its_own_api() -> None:
    async with elsewhere(topic="bench.x").started() as server:
        assert (server.target.path, server.target.port) == ("/ws", 8000)
        assert server.endpoint.path == "/api/v1/publish"
        assert server.endpoint.authorization == "Api-Key k"
        assert (server.sink["kind"], server.sink["topic"]) == ("rest", "bench.x")


async def test_another_server_by_url_takes_the_bare_payload() -> None:
    values = {"url": "ws://127.0.0.1:1/s?x=1", "dialect": "nchan", "token": ""}
    async with elsewhere(**values, publish="http://127.0.0.1:2/pub/t").started() as server:
        assert server.target.path == "/s?x=1"
        assert server.sink["topic"] == ""
        assert server.sink["endpoint"]["path"] == "/pub/t"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"dialect": "carrier-pigeon"}, "--dialect: one of"),
        ({"url": "http://127.0.0.1:8000"}, "--url: ws://"),
        ({"url": "ws://127.0.0.1"}, "--url: ws://"),
        ({"dialect": "bare"}, "--publish: where messages go in"),
        ({"dialect": "bare", "publish": "ftp://127.0.0.1:1"}, "--publish: where messages go in"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_what_to_give(
    changed: dict[str, str], says: str
) -> None:
    with pytest.raises(Unreachable, match=says):
        elsewhere(**changed)
