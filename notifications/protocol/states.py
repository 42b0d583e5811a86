"""Where a connection stands and what may happen to it, as a table.

An event that is not in the table for a state is a defect of the caller: IllegalEvent.
"""

from enum import Enum, auto


class State(Enum):
    """Where a connection stands."""

    AWAITING_AUTH = auto()
    AUTHENTICATING = auto()
    OPEN = auto()
    CLOSED = auto()


class EventKind(Enum):
    """What can happen to a connection."""

    AUTH_RECEIVED = auto()
    MESSAGE_RECEIVED = auto()
    VIOLATED = auto()  # The peer broke a rule whose answer is a close.
    AUTHENTICATED = auto()
    REFUSED = auto()
    DEADLINE_PASSED = auto()
    HEARTBEAT_MISSED = auto()
    DISCONNECTED = auto()  # The server ends it.
    PEER_CLOSED = auto()


_A, _B, _O, _C = State.AWAITING_AUTH, State.AUTHENTICATING, State.OPEN, State.CLOSED

TRANSITIONS: dict[tuple[State, EventKind], State] = {
    (_A, EventKind.AUTH_RECEIVED): _B,
    (_A, EventKind.VIOLATED): _C,
    (_A, EventKind.DEADLINE_PASSED): _C,
    (_A, EventKind.HEARTBEAT_MISSED): _C,
    (_A, EventKind.DISCONNECTED): _C,
    (_A, EventKind.PEER_CLOSED): _C,
    (_B, EventKind.MESSAGE_RECEIVED): _B,
    (_B, EventKind.VIOLATED): _C,
    (_B, EventKind.AUTHENTICATED): _O,
    (_B, EventKind.REFUSED): _C,
    (_B, EventKind.DEADLINE_PASSED): _B,
    (_B, EventKind.HEARTBEAT_MISSED): _C,
    (_B, EventKind.DISCONNECTED): _C,
    (_B, EventKind.PEER_CLOSED): _C,
    (_O, EventKind.MESSAGE_RECEIVED): _O,
    (_O, EventKind.VIOLATED): _C,
    (_O, EventKind.DEADLINE_PASSED): _O,
    (_O, EventKind.HEARTBEAT_MISSED): _C,
    (_O, EventKind.DISCONNECTED): _C,
    (_O, EventKind.PEER_CLOSED): _C,
    # The peer may go at any moment, so whatever was under way may still report. It comes to
    # nothing, and no caller has to ask first.
    (_C, EventKind.MESSAGE_RECEIVED): _C,
    (_C, EventKind.AUTHENTICATED): _C,
    (_C, EventKind.REFUSED): _C,
    (_C, EventKind.DEADLINE_PASSED): _C,
    (_C, EventKind.HEARTBEAT_MISSED): _C,
    (_C, EventKind.DISCONNECTED): _C,
    (_C, EventKind.PEER_CLOSED): _C,
}
"""(state, event) to the next state; a pair that is not here is illegal."""


class IllegalEvent(RuntimeError):
    """An event that cannot happen in this state: the caller has a defect."""

    def __init__(self, state: State, event: EventKind) -> None:
        super().__init__(f"{event.name} is illegal in {state.name}")
        self.state = state
        self.event = event
