"""The table of states: complete, and every pair either leads somewhere or raises."""

from collections.abc import Callable
from itertools import product

import pytest

from notifications.errors import Unauthenticated
from notifications.protocol.codec import JsonCodec
from notifications.protocol.conversation import ServerConversation
from notifications.protocol.states import TRANSITIONS, EventKind, IllegalEvent, State
from tests.protocol.conversations import AUTH, SUCCESS, conversation_in

# Said apart from the table, so that a slip in the table shows.
ILLEGAL: set[tuple[State, EventKind]] = {
    (State.AWAITING_AUTH, EventKind.MESSAGE_RECEIVED),
    (State.AWAITING_AUTH, EventKind.AUTHENTICATED),
    (State.AWAITING_AUTH, EventKind.REFUSED),
    (State.AUTHENTICATING, EventKind.AUTH_RECEIVED),
    (State.OPEN, EventKind.AUTH_RECEIVED),
    (State.OPEN, EventKind.AUTHENTICATED),
    (State.OPEN, EventKind.REFUSED),
    (State.CLOSED, EventKind.AUTH_RECEIVED),
    (State.CLOSED, EventKind.VIOLATED),
}
STAYS = {
    State.AUTHENTICATING: {EventKind.MESSAGE_RECEIVED, EventKind.DEADLINE_PASSED},
    State.OPEN: {EventKind.MESSAGE_RECEIVED, EventKind.DEADLINE_PASSED},
}
PAIRS: list[tuple[State, EventKind]] = list(product(State, EventKind))

CALLS: dict[EventKind, Callable[[ServerConversation], object]] = {
    EventKind.AUTH_RECEIVED: lambda conversation: conversation.receive(AUTH, now=0.0),
    EventKind.MESSAGE_RECEIVED: lambda conversation: conversation.receive("{}", now=0.0),
    EventKind.VIOLATED: lambda conversation: conversation.receive(b"", now=0.0),
    EventKind.AUTHENTICATED: lambda conversation: conversation.authenticated(SUCCESS),
    EventKind.REFUSED: lambda conversation: conversation.refuse_authentication(
        Unauthenticated("Log in.")
    ),
    EventKind.DEADLINE_PASSED: lambda conversation: conversation.auth_deadline_passed(),
    EventKind.HEARTBEAT_MISSED: lambda conversation: conversation.heartbeat_missed(),
    EventKind.DISCONNECTED: lambda conversation: conversation.disconnect(1012),
    EventKind.PEER_CLOSED: lambda conversation: conversation.peer_closed(),
}
RECEIVED = [EventKind.AUTH_RECEIVED, EventKind.MESSAGE_RECEIVED, EventKind.VIOLATED]


def expected(state: State, event: EventKind) -> State:
    """Return the next state of a legal pair, by rule."""
    if event is EventKind.AUTH_RECEIVED:
        return State.AUTHENTICATING
    if event is EventKind.AUTHENTICATED and state is State.AUTHENTICATING:
        return State.OPEN
    return state if event in STAYS.get(state, set()) else State.CLOSED


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_legal_or_raises(state: State, event: EventKind) -> None:
    conversation = conversation_in(state)
    if (state, event) in ILLEGAL:
        with pytest.raises(IllegalEvent, match=f"{event.name} is illegal in {state.name}"):
            conversation._step(event)
        assert conversation.state is state
        assert (state, event) not in TRANSITIONS
    else:
        conversation._step(event)
        assert conversation.state is expected(state, event)


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if pair not in ILLEGAL])
def test_every_legal_pair_can_be_called(state: State, event: EventKind) -> None:
    conversation = conversation_in(state)
    CALLS[event](conversation)
    assert conversation.state is expected(state, event)


@pytest.mark.parametrize(
    ("state", "event"),
    [pair for pair in PAIRS if pair in ILLEGAL and pair[1] not in RECEIVED],
)
def test_a_caller_with_a_defect_is_told(state: State, event: EventKind) -> None:
    with pytest.raises(IllegalEvent) as caught:
        CALLS[event](conversation_in(state))
    assert (caught.value.state, caught.value.event) == (state, event)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", RECEIVED)
def test_nothing_that_a_peer_sends_is_illegal(state: State, event: EventKind) -> None:
    CALLS[event](conversation_in(state))


def test_conversations_share_a_codec() -> None:
    codec = JsonCodec()
    first, second = ServerConversation(codec), ServerConversation(codec)
    first.peer_closed()
    assert second.state is State.AWAITING_AUTH
