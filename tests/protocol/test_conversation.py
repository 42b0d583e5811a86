"""The server's side of a connection: each rule of sections 1 and 5 of docs/protocol.md."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.errors import (
    ERRORS,
    AlreadySubscribed,
    InternalError,
    NotificationError,
    RateLimited,
    TokenExpired,
    Unauthenticated,
)
from notifications.protocol.codec import JsonCodec
from notifications.protocol.codes import CLOSE_REASONS, CloseCode, reconnects
from notifications.protocol.conversation import (
    REASON_BYTES,
    STRUCTURAL_FAULTS,
    STRUCTURAL_WINDOW,
    Action,
    Authenticate,
    Close,
    Request,
    Send,
    ServerConversation,
    error_frame,
)
from notifications.protocol.frames import Auth, AuthSuccess, Disconnect, Error, Ping, Subscribe
from notifications.protocol.limits import AUTH_BYTES, BATCH_FRAMES, FRAME_BYTES
from notifications.protocol.refusals import SERVED
from notifications.protocol.states import State
from tests.protocol.conversations import AUTH, PING, SUCCESS, conversation_in
from tests.protocol.json_values import mutilated, texts
from tests.protocol.vectors import CLIENT_ROWS, text_of

FAULT = "[[]]"


def brief(actions: list[Action]) -> list[Any]:
    """Write actions so that a table can hold them."""
    return [in_brief(action) for action in actions]


def in_brief(action: Action) -> Any:
    if isinstance(action, Close):
        return action.code
    if isinstance(action, Request | Authenticate):
        return type(action).__name__, type(action.frame).__name__
    frame = action.frame
    if isinstance(frame, Error):
        return frame.code, frame.id
    if isinstance(frame, Disconnect):
        return "disconnect", frame.code
    return type(frame).__name__


def padded(frame: str, size: int) -> str:
    return frame + " " * (size - len(frame))


FIRST = [
    ("auth", AUTH, [("Authenticate", "Auth")]),
    ("auth of 8 KiB", padded(AUTH, AUTH_BYTES), [("Authenticate", "Auth")]),
    ("over 8 KiB", padded(AUTH, AUTH_BYTES + 1), [4502]),
    ("64 KiB", padded(AUTH, FRAME_BYTES), [4502]),
    ("over 64 KiB", padded(AUTH, FRAME_BYTES + 1), [1009]),
    ("over 64 KiB in bytes, not in characters", '"' + "é" * (FRAME_BYTES // 2) + '"', [1009]),
    ("binary", AUTH.encode(), [4502]),
    ("binary over 64 KiB", padded(AUTH, FRAME_BYTES + 1).encode(), [1009]),
    ("another frame", PING, [4502]),
    ("another frame, malformed", '{"type":"subscribe"}', [4502]),
    ("an unknown type", '{"type":"shout"}', [4502]),
    ("no type", "{}", [4502]),
    ("no object", "7", [4502]),
    ("undecodable", "{", [4502]),
    ("nothing", "", [4502]),
    ("an array", f"[{AUTH}]", [4502]),
    ("an empty array", "[]", [4502]),
    ("a nested array", FAULT, [4502]),
    ("too deep", AUTH[:-1] + ',"x":' + "[" * 16 + "]" * 16 + "}", [4502]),
    ("no token", '{"type":"auth","id":1,"clientId":"c"}', [("BAD_FRAME", 1), 4501]),
    ("no clientId", '{"type":"auth","token":"t"}', [("BAD_FRAME", None), 4501]),
    (
        "a bad id",
        '{"type":"auth","id":1.5,"token":"t","clientId":"c"}',
        [("BAD_FRAME", None), 4501],
    ),
    (
        "another bad field",
        '{"type":"auth","id":2,"token":"t","clientId":"c","attempt":"x"}',
        [("BAD_FRAME", 2), 4501],
    ),
]


@pytest.mark.parametrize(("data", "actions"), [row[1:] for row in FIRST], ids=[r[0] for r in FIRST])
def test_the_first_message(data: str | bytes, actions: list[Any]) -> None:
    conversation = conversation_in(State.AWAITING_AUTH)
    assert brief(conversation.receive(data, now=0.0)) == actions
    is_accepted = actions == [("Authenticate", "Auth")]
    assert conversation.state is (State.AUTHENTICATING if is_accepted else State.CLOSED)


def test_authenticate_carries_the_frame() -> None:
    [action] = conversation_in(State.AWAITING_AUTH).receive(AUTH, now=0.0)
    assert action == Authenticate(Auth(id="a-1", token="t", client_id="c"))


@pytest.mark.parametrize(
    ("auth", "success_id", "sent_id"),
    [
        (AUTH, None, "a-1"),
        (AUTH, "own", "own"),
        ('{"type":"auth","token":"t","clientId":"c"}', None, None),
    ],
)
def test_auth_success_carries_the_id_of_the_auth(
    auth: str, success_id: str | None, sent_id: str | None
) -> None:
    conversation = conversation_in(State.AUTHENTICATING, auth=auth)
    [action] = conversation.authenticated(msgspec.structs.replace(SUCCESS, id=success_id))
    assert isinstance(action, Send)
    assert isinstance(action.frame, AuthSuccess)
    assert action.frame.id == sent_id
    assert conversation.state is State.OPEN


REFUSALS = {
    "TOKEN_EXPIRED": 4401,
    "RATE_LIMITED": 4429,
    "LIMIT_CONNECTIONS": 4429,
    "INTERNAL": 1011,
    "UNAVAILABLE": 1013,
    "OVERLOADED": 1013,
}


@pytest.mark.parametrize("code", ERRORS)
def test_a_refused_authentication_is_an_error_and_a_close(code: str) -> None:
    conversation = conversation_in(State.AUTHENTICATING)
    error = ERRORS[code]("Do otherwise.")
    actions = conversation.refuse_authentication(error)
    close = REFUSALS.get(code, 4501)
    assert brief(actions) == [(code, "a-1"), close]
    assert reconnects(close) is (error.temporary or code == "TOKEN_EXPIRED")
    assert conversation.state is State.CLOSED


def test_the_deadline_closes_only_who_sent_nothing() -> None:
    assert brief(conversation_in(State.AWAITING_AUTH).auth_deadline_passed()) == [4402]
    for state in (State.AUTHENTICATING, State.OPEN, State.CLOSED):
        assert conversation_in(state).auth_deadline_passed() == []


OPEN = [
    ("a request", '{"type":"subscribe","id":1,"topic":"a"}', [("Request", "Subscribe")]),
    ("a publish", '{"type":"publish","id":1,"topic":"a","payload":1}', [("Request", "Publish")]),
    (
        "unsubscribe",
        '{"type":"unsubscribe","id":1,"subscriptionId":"s"}',
        [("Request", "Unsubscribe")],
    ),
    ("verify", '{"type":"verify","id":1,"subscriptionIds":[]}', [("Request", "Verify")]),
    ("a ping", PING, [("Request", "Ping")]),
    ("64 KiB", padded(PING, FRAME_BYTES), [("Request", "Ping")]),
    ("over 64 KiB", padded(PING, FRAME_BYTES + 1), [1009]),
    ("binary", PING.encode(), [1003]),
    ("a second auth", AUTH, [("BAD_FRAME", "a-1")]),
    ("a second auth, malformed", '{"type":"auth","id":3}', [("BAD_FRAME", 3)]),
    ("a bad field", '{"type":"subscribe","id":1}', [("BAD_FRAME", 1)]),
    ("a missing id", '{"type":"subscribe","topic":"a"}', [("BAD_FRAME", None)]),
    ("a wrong id", '{"type":"subscribe","id":[],"topic":"a"}', [("BAD_FRAME", None)]),
    ("an unknown type", '{"type":"shout","id":1}', [("UNKNOWN_TYPE", 1)]),
    ("an unknown type, no id", '{"type":"shout"}', [("UNKNOWN_TYPE", None)]),
    ("replay", '{"type":"replay","id":1,"cursor":{}}', [("Request", "Replay")]),
    ("ack", '{"type":"ack","cursor":{}}', [("Request", "Ack")]),
    ("refresh", '{"type":"refresh","id":"r","token":"t"}', [("Request", "Refresh")]),
    ("not served: presence", '{"type":"presence","id":1,"topic":"a"}', [("UNKNOWN_TYPE", 1)]),
    ("refresh without a token", '{"type":"refresh","id":1}', [("BAD_FRAME", 1)]),
    ("not served, malformed", '{"type":"presence","id":1}', [("BAD_FRAME", 1)]),
    ("a structural fault", FAULT, [("BAD_FRAME", None)]),
    (
        "text with a lone surrogate",
        '{"type":"subscribe","id":1,"topic":"\ud800"}',
        [("BAD_FRAME", None)],
    ),
    ("an empty batch", "[]", []),
    (
        "a batch, in order",
        '[{"type":"ping"},{"type":"shout","id":1},5,{"type":"subscribe","id":2,"topic":"a"}]',
        [("Request", "Ping"), ("UNKNOWN_TYPE", 1), ("BAD_FRAME", None), ("Request", "Subscribe")],
    ),
]


@pytest.mark.parametrize(
    ("data", "actions"), [row[1:] for row in OPEN], ids=[row[0] for row in OPEN]
)
def test_a_message_on_an_open_connection(data: str | bytes, actions: list[Any]) -> None:
    conversation = conversation_in(State.OPEN)
    assert brief(conversation.receive(data, now=0.0)) == actions
    is_closed = bool(actions) and isinstance(actions[-1], int)
    assert conversation.state is (State.CLOSED if is_closed else State.OPEN)


@pytest.mark.parametrize(
    "row", [row for row in CLIENT_ROWS if "error" in row], ids=lambda row: row["name"]
)
def test_every_refused_row_is_answered_and_keeps_the_connection(row: dict[str, Any]) -> None:
    conversation = conversation_in(State.OPEN)
    assert brief(conversation.receive(text_of(row), now=0.0)) == [(row["error"], row.get("id"))]
    assert conversation.state is State.OPEN


def test_a_request_carries_the_frame() -> None:
    actions = conversation_in(State.OPEN).receive(
        '{"type":"subscribe","id":1,"topic":"a"}', now=0.0
    )
    assert actions == [Request(Subscribe(id=1, topic="a"))]


def test_every_request_is_of_a_served_type() -> None:
    assert Auth not in SERVED
    assert Ping in SERVED


def test_the_frame_limit_can_be_set() -> None:
    conversation = ServerConversation(conversation_in(State.OPEN)._codec, frame_bytes=100)
    assert brief(conversation.receive("x" * 101, now=0.0)) == [1009]


class TestStructuralFaults:
    """The tenth within a minute closes the connection."""

    def test_the_tenth_closes(self) -> None:
        conversation = conversation_in(State.OPEN)
        for number in range(STRUCTURAL_FAULTS - 1):
            assert brief(conversation.receive(FAULT, now=float(number))) == [("BAD_FRAME", None)]
        last = STRUCTURAL_WINDOW - 0.001
        assert brief(conversation.receive(FAULT, now=last)) == [
            ("BAD_FRAME", None),
            ("disconnect", 4500),
            4500,
        ]
        assert conversation.receive(PING, now=last) == []

    def test_the_window_rolls(self) -> None:
        conversation = conversation_in(State.OPEN)
        spacing = STRUCTURAL_WINDOW / (STRUCTURAL_FAULTS - 1)
        for number in range(100):
            conversation.receive(FAULT, now=number * spacing)
        assert conversation.state is State.OPEN

    def test_a_burst_after_a_calm_closes(self) -> None:
        conversation = conversation_in(State.OPEN)
        for number in range(5):
            conversation.receive(FAULT, now=float(number))
        for _ in range(STRUCTURAL_FAULTS - 1):
            conversation.receive(FAULT, now=1_000.0)
            assert conversation.state is State.OPEN
        conversation.receive(FAULT, now=1_000.0)
        assert conversation.state is State.CLOSED

    def test_other_errors_do_not_count(self) -> None:
        conversation = conversation_in(State.OPEN)
        for _ in range(STRUCTURAL_FAULTS * 2):
            conversation.receive('{"type":"subscribe"}', now=0.0)
            conversation.receive('{"type":"shout"}', now=0.0)
        assert conversation.state is State.OPEN

    def test_a_batch_ends_where_they_close(self) -> None:
        conversation = conversation_in(State.OPEN)
        batch = "[" + ",".join([PING] + ["{}"] * STRUCTURAL_FAULTS + [PING]) + "]"
        actions = brief(conversation.receive(batch, now=0.0))
        assert actions[0] == ("Request", "Ping")
        assert actions[1:-2] == [("BAD_FRAME", None)] * STRUCTURAL_FAULTS
        assert actions[-2:] == [("disconnect", 4500), 4500]


class TestWhileAuthenticating:
    """What comes too early waits, within bounds."""

    def test_it_follows_the_success_in_order(self) -> None:
        conversation = conversation_in(State.AUTHENTICATING)
        for data in (PING, '{"type":"shout","id":1}', '[{"type":"subscribe","id":2,"topic":"a"}]'):
            assert conversation.receive(data, now=0.0) == []
        assert brief(conversation.authenticated(SUCCESS)) == [
            "AuthSuccess",
            ("Request", "Ping"),
            ("UNKNOWN_TYPE", 1),
            ("Request", "Subscribe"),
        ]
        assert brief(conversation.receive(PING, now=0.0)) == [("Request", "Ping")]

    def test_its_faults_have_their_own_times(self) -> None:
        conversation = conversation_in(State.AUTHENTICATING)
        for _ in range(STRUCTURAL_FAULTS + 1):
            conversation.receive(FAULT, now=0.0)
        assert brief(conversation.authenticated(SUCCESS)) == [
            "AuthSuccess",
            *[("BAD_FRAME", None)] * STRUCTURAL_FAULTS,
            ("disconnect", 4500),
            4500,
        ]
        assert conversation.state is State.CLOSED

    def test_it_is_dropped_with_a_refusal(self) -> None:
        conversation = conversation_in(State.AUTHENTICATING)
        conversation.receive(PING, now=0.0)
        actions = conversation.refuse_authentication(TokenExpired("Get a token."))
        assert brief(actions) == [("TOKEN_EXPIRED", "a-1"), 4401]
        assert conversation._held == []

    @pytest.mark.parametrize(
        ("data", "fitting"),
        [(padded(PING, FRAME_BYTES // 4), 4), (PING, BATCH_FRAMES), ("", BATCH_FRAMES)],
    )
    def test_it_is_bounded_by_bytes_and_by_number(self, data: str, fitting: int) -> None:
        conversation = conversation_in(State.AUTHENTICATING)
        for _ in range(fitting):
            assert conversation.receive(data, now=0.0) == []
        assert brief(conversation.receive(data, now=0.0)) == [4500]
        assert conversation._held == []

    @pytest.mark.parametrize(
        ("data", "code"), [(PING.encode(), 1003), (padded(PING, FRAME_BYTES + 1), 1009)]
    )
    def test_size_and_kind_close_at_once(self, data: str | bytes, code: int) -> None:
        conversation = conversation_in(State.AUTHENTICATING)
        assert brief(conversation.receive(data, now=0.0)) == [code]


@pytest.mark.parametrize("code", CloseCode)
def test_a_client_that_is_to_come_back_is_told_how_well_the_server_is(code: CloseCode) -> None:
    asked = []

    def health() -> float:
        asked.append(code)
        return 0.25

    conversation = ServerConversation(JsonCodec(), health=health)
    conversation.state = State.OPEN
    sent = [one.frame for one in conversation.disconnect(code) if isinstance(one, Send)]
    announced = code in (1012, 1013) or code >= 4000
    returns = announced and code < 4500
    assert [getattr(frame, "health", 0) for frame in sent] == (
        [0.25 if returns else None] if announced else []
    )
    assert len(asked) == returns


@pytest.mark.parametrize("code", CloseCode)
def test_a_disconnect_frame_goes_first_where_section_5_says(code: CloseCode) -> None:
    conversation = conversation_in(State.OPEN)
    actions = conversation.disconnect(code, "why", retry_after=250)
    close = Close(code, "why")
    if code in (1012, 1013) or code >= 4000:
        frame = Disconnect(code=code, reason="why", reconnect=reconnects(code), retry_after=250)
        assert actions == [Send(frame), close]
    else:
        assert actions == [close]
    assert conversation.state is State.CLOSED
    assert conversation.disconnect(code) == []


@pytest.mark.parametrize("state", [State.AWAITING_AUTH, State.AUTHENTICATING])
@pytest.mark.parametrize("code", [1012, 4408, 4503])
def test_before_auth_success_a_disconnect_is_a_close(state: State, code: int) -> None:
    assert conversation_in(state).disconnect(code) == [Close(code, CLOSE_REASONS[code])]


def test_a_missed_heartbeat() -> None:
    conversation = conversation_in(State.OPEN)
    reason = CLOSE_REASONS[4408]
    assert conversation.heartbeat_missed() == [
        Send(Disconnect(code=4408, reason=reason, reconnect=True)),
        Close(4408, reason),
    ]


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("", CLOSE_REASONS[4503]),
        ("x" * REASON_BYTES, "x" * REASON_BYTES),
        ("x" * 500, "x" * REASON_BYTES),
        ("é" * 100, "é" * (REASON_BYTES // 2)),
    ],
)
def test_a_close_reason_fits_its_frame(reason: str, sent: str) -> None:
    actions = conversation_in(State.OPEN).disconnect(4503, reason)
    assert actions[-1] == Close(4503, sent)


def test_an_unknown_code_has_no_reason_of_its_own() -> None:
    assert conversation_in(State.OPEN).disconnect(4999)[-1] == Close(4999, "")


@pytest.mark.parametrize("data", [PING, AUTH, FAULT, PING.encode(), "x" * (FRAME_BYTES + 1)])
def test_late_messages_are_dropped(data: str | bytes) -> None:
    assert conversation_in(State.CLOSED).receive(data, now=0.0) == []


def test_what_was_under_way_when_the_peer_went_comes_to_nothing() -> None:
    conversation = conversation_in(State.AUTHENTICATING)
    conversation.peer_closed()
    assert conversation.authenticated(SUCCESS) == []
    assert conversation.refuse_authentication(Unauthenticated("Log in.")) == []
    assert conversation.heartbeat_missed() == []


@pytest.mark.parametrize(
    ("error", "request_id", "frame"),
    [
        (
            RateLimited("Wait.", retry_after=500),
            1,
            Error(id=1, code="RATE_LIMITED", message="Wait.", temporary=True, retry_after=500),
        ),
        (
            AlreadySubscribed("Use it.", data={"subscriptionId": "s"}),
            "x",
            Error(
                id="x",
                code="ALREADY_SUBSCRIBED",
                message="Use it.",
                temporary=False,
                data={"subscriptionId": "s"},
            ),
        ),
        (
            InternalError("Try again."),
            None,
            Error(code="INTERNAL", message="Try again.", temporary=True),
        ),
    ],
)
def test_error_frame(error: NotificationError, request_id: int | str | None, frame: Error) -> None:
    assert error_frame(error, request_id) == frame


@settings(max_examples=30)
@given(st.lists(texts | mutilated() | st.text() | st.binary(), max_size=20), st.booleans())
def test_whatever_a_peer_sends_a_conversation_ends_with_its_close(
    messages: list[str | bytes], is_authenticated: bool
) -> None:
    conversation = conversation_in(State.OPEN if is_authenticated else State.AWAITING_AUTH)
    actions: list[Action] = []
    for message in messages:
        actions += conversation.receive(message, now=0.0)
        if conversation.state is State.AUTHENTICATING:
            actions += conversation.authenticated(SUCCESS)
    closes = [place for place, action in enumerate(actions) if isinstance(action, Close)]
    assert closes in ([], [len(actions) - 1])
    assert bool(closes) is (conversation.state is State.CLOSED)
