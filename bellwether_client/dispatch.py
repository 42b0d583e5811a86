"""Hands each frame of the server to whom it concerns."""

from collections.abc import Callable

from bellwether_client.errors import NotificationError
from bellwether_client.events import Events, ServerError
from bellwether_client.frames import (
    AuthSuccess,
    Disconnect,
    ErrorFrame,
    GapFrame,
    HeldSubscription,
    Pong,
    ReplayComplete,
    ServerFrame,
    Subscribed,
    TokenExpiring,
    Unsubscribed,
)
from bellwether_client.inbox import Inbox
from bellwether_client.messages import NotificationMessage
from bellwether_client.requests import Requests
from bellwether_client.subscriptions import Subscriptions
from bellwether_client.tokens import Tokens


class Dispatcher:
    """measured: told of each round trip, in milliseconds. elapsed: a clock that nobody sets."""

    def __init__(
        self,
        *,
        events: Events,
        inbox: Inbox,
        requests: Requests,
        subscriptions: Subscriptions,
        tokens: Tokens,
        measured: Callable[[float], None],
        elapsed: Callable[[], float],
    ) -> None:
        self._events = events
        self._inbox = inbox
        self._requests = requests
        self._subscriptions = subscriptions
        self._tokens = tokens
        self._measured = measured
        self._elapsed = elapsed

    def take(self, frame: ServerFrame) -> None:
        """Take a frame; it has its effect before the next one is looked at."""
        match frame:
            case NotificationMessage():
                self._inbox.message(frame)
            case Pong():
                if frame.t is not None:
                    self._measured(self._elapsed() - frame.t)
                self._inbox.pong(frame)
            case GapFrame():
                self._inbox.gap(frame)
            case ReplayComplete():
                self._inbox.replay_complete(frame)
            case TokenExpiring():
                self._tokens.refresh()
            case Subscribed() if frame.id is None:
                self._subscriptions.begun_by_others(
                    HeldSubscription(
                        frame.subscription_id, frame.topic, frame.options, frame.created_at
                    )
                )
            case Unsubscribed():
                self._unsubscribed(frame)
            case ErrorFrame():
                if not self._requests.answer(frame.id, frame):
                    self._events.emit(ServerError(error=frame.error))
            case AuthSuccess() | Disconnect():
                pass  # the connection took them
            case _:
                self._requests.answer(frame.id, frame)

    def _unsubscribed(self, frame: Unsubscribed) -> None:
        if self._requests.answer(frame.id, frame):
            return
        text = frame.reason or "The server ended this subscription."
        error = NotificationError(frame.code or "FORBIDDEN", text)
        self._subscriptions.ended_by_server(frame.subscription_id, error)
