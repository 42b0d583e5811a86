"""The pure parts of the client against the rows that the TypeScript client runs too."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from bellwether_client.backoff import backoff_delay, retry_wait
from bellwether_client.breaker import Breaker, worse
from bellwether_client.codes import CloseCode, close_reason, reconnects
from bellwether_client.config import RetryConfig
from bellwether_client.cursor import Cursor, CursorTrack
from bellwether_client.decode import Unknown, read_frame
from bellwether_client.errors import IllegalTransition
from bellwether_client.states import next_status
from bellwether_client.topics import matches, pattern_mistake, split, topic_mistake
from tests.client.vectors import vectors

CODES, CURSORS, TOPICS = vectors("codes"), vectors("cursors"), vectors("topics")
BACKOFF, STATES = vectors("backoff"), vectors("states")
FRAMES = [row for row in vectors("frames")["rows"] if row["direction"] == "server"]

FIELDS = {
    "maxRetries": "max_retries",
    "initialDelay": "initial_delay",
    "maxDelay": "max_delay",
    "backoffMultiplier": "backoff_multiplier",
}


def named(row: Any) -> str:
    return str(row["name"])


@pytest.mark.parametrize("row", [*CODES["closes"], *CODES["unnamed"]], ids=lambda row: row["code"])
def test_close_codes(row: dict[str, Any]) -> None:
    assert reconnects(row["code"]) is row["reconnect"]
    if "clientReason" in row:
        assert close_reason(row["code"]) == row["clientReason"]
    if "name" in row:
        assert CloseCode(row["code"]).name == row["name"]


@pytest.mark.parametrize("row", CURSORS["track"], ids=named)
def test_cursors(row: dict[str, Any]) -> None:
    track = CursorTrack()
    for step in row["do"]:
        match step:
            case {"advance": [partition, offset]}:
                track.advance((partition, offset))
            case {"covers": [partition, offset], "is": answer}:
                assert track.covers((partition, offset)) is answer
            case {"merge": cursor}:
                track.merge(Cursor(**cursor))
            case {"reset": cursor}:
                track.reset(Cursor(**cursor))
            case _:
                raise AssertionError(step)
    here = track.snapshot()
    assert (None if here is None else here.to_wire()) == row["cursor"]


@pytest.mark.parametrize(
    ("kind", "row"),
    [(kind, row) for kind in ("topics", "patterns") for row in TOPICS[kind]["valid"]],
    ids=str,
)
def test_topics_that_are_right(kind: str, row: dict[str, Any]) -> None:
    assert (topic_mistake if kind == "topics" else pattern_mistake)(row["text"]) is None


@pytest.mark.parametrize(
    ("kind", "row"),
    [(kind, row) for kind in ("topics", "patterns") for row in TOPICS[kind]["invalid"]],
    ids=lambda value: str(value)[:60],
)
def test_mistakes_in_topics(kind: str, row: dict[str, Any]) -> None:
    assert (topic_mistake if kind == "topics" else pattern_mistake)(row["text"]) == row["mistake"]


@pytest.mark.parametrize("row", TOPICS["matches"], ids=str)
def test_what_patterns_match(row: dict[str, Any]) -> None:
    assert matches(split(row["pattern"]), split(row["topic"])) is row["matches"]


@pytest.mark.parametrize("row", BACKOFF["rows"], ids=named)
def test_delays(row: dict[str, Any]) -> None:
    fields = BACKOFF["policy"] | row.get("retry", {})
    policy = RetryConfig(**{FIELDS.get(key, key): value for key, value in fields.items()})
    health = row.get("health", 1.0)
    delay = backoff_delay(row["attempt"], policy, random=row["random"], health=health)
    assert delay == pytest.approx(row["delay"], abs=1e-6)


@pytest.mark.parametrize("row", BACKOFF["retryAfter"], ids=named)
def test_what_is_waited_in_the_end(row: dict[str, Any]) -> None:
    waits = retry_wait(asked=row.get("asked"), delay=row["delay"], breaker=row["breaker"])
    assert waits == row["waits"]


@pytest.mark.parametrize("row", STATES["transitions"], ids=str)
def test_transitions(row: dict[str, Any]) -> None:
    if row["to"] is None:
        with pytest.raises(IllegalTransition):
            next_status(row["from"], row["event"])
    else:
        assert next_status(row["from"], row["event"]) == row["to"]


@pytest.mark.parametrize("row", STATES["breaker"], ids=named)
def test_the_circuit_breaker(row: dict[str, Any]) -> None:
    breaker = Breaker(row["failureThreshold"], row["resetTimeout"])
    for step in row["steps"]:
        match step["do"]:
            case "pass":
                breaker.attempt()
            case "success":
                breaker.succeeded()
            case "failure":
                breaker.failed(step["at"])
            case "look":
                pass
        assert (breaker.circuit, breaker.wait(step["at"])) == (step["circuit"], step["wait"]), step


@pytest.mark.parametrize("row", STATES["worse"], ids=str)
def test_the_worse_of_two_breakers(row: list[Any]) -> None:
    one, other, expected = row
    assert worse(one, other) == expected


NAMES = {"messageId": "message_id", "subscriptionId": "subscription_id"}


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def is_read(value: Any, expected: Any) -> bool:
    """Compare what was read with what a row says, which is as on the wire."""
    match value, expected:
        case datetime(), str():
            return value.astimezone(UTC) == datetime.fromisoformat(expected)
        case dict(), dict():
            return all(
                is_read(value.get(snake(key), value.get(key)), expected[key]) for key in expected
            )
        case ((list() | tuple()), list()):
            pairs = zip(value, expected, strict=True)
            return all(is_read(one, other) for one, other in pairs)
        case _:
            return bool(value == expected)


@pytest.mark.parametrize("row", FRAMES, ids=named)
def test_frames_of_the_server(row: dict[str, Any]) -> None:
    frame, kind = json.loads(row["json"]), row["frame"]["type"]
    if kind in ("presence", "presence_diff"):
        with pytest.raises(Unknown):
            read_frame(frame)
        return
    read, expected = read_frame(frame), {**row["frame"]}
    found = asdict(read)
    match kind:
        case "error":
            error = read.error  # type: ignore[union-attr]
            found = {"id": read.id, **vars(error)}  # type: ignore[union-attr]
        case "auth_success":
            found["heartbeat"] = {"interval": read.interval, "timeout": read.timeout}  # type: ignore[union-attr]
            found["limits"] = {"frameBytes": read.frame_bytes}  # type: ignore[union-attr]
            expected["limits"] = {"frameBytes": expected["limits"]["frameBytes"]}
            for gone in ("id", "capabilities", "serverTime"):
                expected.pop(gone, None)
        case "verified":
            pairs = [(one["subscriptionId"], one["code"]) for one in expected["inactive"]]
            expected["inactive"] = [list(pair) for pair in pairs]
        case "pong":
            expected.pop("serverTime")
    expected.pop("type")
    assert is_read(found, expected), (found, expected)
