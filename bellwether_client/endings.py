"""What is to end at the server: asked for until it has said so."""

from collections.abc import Callable
from typing import Any

from bellwether_client.errors import NotificationError
from bellwether_client.requests import Expected, Requests, ask_again_after
from bellwether_client.tasks import Timers

MAX_LEFT = 1_000
"""Topics that are to end. Policy: one more is not noted, see `add`."""


class Endings:
    """Bound: MAX_LEFT topics that are to end and have not been answered for."""

    def __init__(
        self, *, requests: Requests, send: Callable[[dict[str, Any]], None], timers: Timers
    ) -> None:
        self._requests = requests
        self._send = send
        self._timers = timers
        self._topics: set[str] = set()

    def __contains__(self, topic: str) -> bool:
        """Tell whether a topic is to end."""
        return topic in self._topics

    def add(self, topic: str) -> None:
        """Have one ended on the next connection; one that is not noted becomes an orphan."""
        if len(self._topics) < MAX_LEFT:
            self._topics.add(topic)

    def done(self, topic: str) -> None:
        """Note that the server has ended it, or another in its place."""
        self._topics.discard(topic)

    def take(self) -> set[str]:
        """Give what there is, to be looked for in what the server holds."""
        topics, self._topics = self._topics, set()
        return topics

    def ask(self, topic: str, subscription_id: str) -> None:
        """Ask the server to end a subscription, now; and on the next connection without answer."""
        self.add(topic)
        request_id = self._requests.new_id()

        def again() -> None:
            if topic in self._topics:
                self.ask(topic, subscription_id)

        def refused(error: NotificationError) -> None:
            if error.temporary:
                self._timers.after(ask_again_after(error), again)
            else:
                self.done(topic)  # it is gone already

        expected = Expected(lambda reply: self.done(topic), refused, lambda: None)
        self._requests.expect(request_id, expected)
        frame = {"type": "unsubscribe", "id": request_id, "subscriptionId": subscription_id}
        self._send(frame)
