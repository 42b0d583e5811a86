"""The benchmark's clients that come back: what they say, and what they take for whole."""

import json
from typing import Any

import pytest

from bench.load.dialects import Conversation, Refused
from bench.load.resuming import Client, Unrecovered

CURSOR = {"epoch": "x", "offsets": {"0": 5}}
LATER = {"epoch": "x", "offsets": {"0": 7}}


def said(text: bytes | None) -> Any:
    assert text is not None
    return json.loads(text)


def frame(type_: str, **fields: Any) -> bytes:
    return json.dumps({"type": type_, **fields}, separators=(",", ":")).encode()


def away() -> Client:
    """Return a client that has subscribed and left."""
    client = Client("me", "a.b", "the-token")
    talk = client.converse(0)
    assert said(next(talk)) == {"type": "auth", "token": "the-token", "clientId": "me"}
    subscribe = talk.send(frame("auth_success", sessionId="secret", cursor=CURSOR))
    assert said(subscribe) == {"type": "subscribe", "id": 1, "topic": "a.b"}
    with pytest.raises(StopIteration):
        talk.send(frame("subscribed", id=1))
    return client


def back(client: Client) -> tuple[Conversation, Any]:
    talk = client.converse(0)
    auth = said(next(talk))
    assert talk.send(frame("auth_success", resumed=True)) is None
    return talk, auth["resume"]


def end(talk: Conversation, **fields: Any) -> None:
    with pytest.raises(StopIteration):
        talk.send(frame("replay_complete", **fields))


def test_it_resumes_from_where_the_last_replay_ended() -> None:
    client = away()
    talk, resume = back(client)
    assert resume == {"sessionId": "secret", "cursor": CURSOR}
    for _ in range(2):
        talk.send(frame("message", topic="a.b"))
    end(talk, recovered=True, count=2, cursor=LATER)
    assert client.messages == 2
    assert client.authenticated > 0
    talk, resume = back(client)
    assert resume == {"sessionId": "secret", "cursor": LATER}
    end(talk, recovered=True, count=0, cursor=LATER)
    assert client.messages == 0


@pytest.mark.parametrize(("recovered", "count"), [(False, 1), (True, 2), (True, 0)])
def test_what_is_not_whole_is_no_recovery(recovered: bool, count: int) -> None:
    talk, _ = back(away())
    talk.send(frame("message", topic="a.b"))
    with pytest.raises(Unrecovered):
        talk.send(frame("replay_complete", recovered=recovered, count=count, cursor=LATER))


def test_a_session_that_is_gone_is_no_recovery() -> None:
    talk = away().converse(0)
    next(talk)
    with pytest.raises(Unrecovered):
        talk.send(frame("auth_success", resumed=False))


def test_an_error_is_refused_and_may_be_tried_again() -> None:
    talk, _ = back(away())
    with pytest.raises(Refused) as caught:
        talk.send(frame("disconnect", code=1013))
    assert isinstance(caught.value, OSError)
