"""Who may publish over REST now: a bound on the requests served at once, and on their bodies.

Both are shared as the log's queue is (resilience/sharing.py): over a bound a request is refused
with OVERLOADED, and one of a publisher that would have more than is left for all others with
RATE_LIMITED, before its body is read. Metrics: bellwether_publish_requests,
bellwether_publish_body_bytes, bellwether_publish_refused.
"""

from types import TracebackType

from notifications import metrics
from notifications.errors import NotificationError, Overloaded, RateLimited
from notifications.resilience.sharing import Room, SharedBound

REQUESTS = 500
"""Requests to publish that a process serves at once. More would not be served sooner: they would
wait longer, until their deadline, and have been served for nothing."""

BODY_BYTES = 64 * 1024 * 1024
"""Bytes of bodies that a process holds at once; the messages made of them take as many again."""

RETRY_AFTER = 1_000
"""Milliseconds after which who was refused may try again."""

THE_VIEW = "the view"
"""The one holder that all requests share which name no credentials of their own."""


class Admission:
    """The bounds of a process; for one event loop."""

    def __init__(self, *, requests: int = REQUESTS, body_bytes: int = BODY_BYTES) -> None:
        self.requests = SharedBound(requests)
        self.body_bytes = SharedBound(body_bytes)

    def enter(self, holder: str) -> "Admitted":
        """Admit a request, which must leave; raises Overloaded, RateLimited."""
        _take(self.requests, holder, 1, why="requests")
        return Admitted(self, holder)


class Admitted:
    """A request that is served; a context, at whose end it has left."""

    __slots__ = ("_admission", "_bytes", "_holder")

    def __init__(self, admission: Admission, holder: str) -> None:
        self._admission = admission
        self._holder = holder
        self._bytes = 0

    def reserve(self, size: int) -> None:
        """Reserve memory for a body of so many bytes; raises Overloaded, RateLimited."""
        _take(self._admission.body_bytes, self._holder, size, why="bytes")
        self._bytes += size

    def __enter__(self) -> "Admitted":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._admission.requests.give_back(self._holder, 1)
        if self._bytes:
            self._admission.body_bytes.give_back(self._holder, self._bytes)


def _take(bound: SharedBound, holder: str, amount: int, *, why: str) -> None:
    room = bound.room(holder, amount)
    if room is Room.FREE:
        bound.take(holder, amount)
        return
    metrics.publish_refused.labels(why).inc()
    raise _refusal(room)


def _refusal(room: Room) -> NotificationError:
    if room is Room.FULL:
        return Overloaded(
            "The server has too many publishes to do; nothing was published. Slow down and retry.",
            retry_after=RETRY_AFTER,
        )
    return RateLimited(
        "You have too many publishes on their way at once; nothing was published. Wait for their "
        "answers, or send batches.",
        retry_after=RETRY_AFTER,
    )


admission = Admission()
"""The bounds of this process."""

metrics.publish_requests.set_function(lambda: admission.requests.used)
metrics.publish_body_bytes.set_function(lambda: admission.body_bytes.used)
