"""What one client's events show: what it was owed, what it got, what it was told it missed.

A message is owed to a client when it lies after the beginning of a subscription that matches it
(and, when the subscription ended, before what the client had reached by then), and a grant covers
it. It is excused when a `gap` or `recovered: false` was given whose cursor covers it, it lies
above what the client had reached, and it had been published by then: a cursor excuses no future.

What was owed, not excused and never handled is
- a false `recovered: true` when such a recovery spoke for it;
- a silent gap when the client's cursor went past it all the same;
- undelivered when the cursor never got there.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.delivery.history import (
    Connected,
    Connecting,
    Disconnected,
    Gap,
    Handled,
    Logged,
    Offsets,
    Position,
    Received,
    Recovered,
    Subscribed,
    Unsubscribed,
)
from tests.delivery.report import Anomaly, Report

DELIVERY_SECONDS = 10.0
"""Seconds after the last heal (or the publish, or the client's return) for a delivery."""


def covers(pattern: str, topic: str) -> bool:
    """Tell whether a pattern matches a topic, as docs/protocol.md defines it.

    Not the server's own matching: what is checked must not check itself.
    """
    wanted, given = pattern.split("."), topic.split(".")
    if wanted[-1] == "**":
        wanted = wanted[:-1] + ["*"] * max(len(given) - len(wanted) + 1, 1)
    return len(wanted) == len(given) and all(
        one in ("*", other) for one, other in zip(wanted, given, strict=True)
    )


def within(position: Position, after: Offsets, through: Offsets) -> bool:
    """Tell whether a position lies after one cursor and not after another."""
    partition, offset = position
    return after.get(partition, 0) < offset <= through.get(partition, 0)


@dataclass
class _Subscription:
    pattern: str
    begin: Offsets | None
    end: Offsets | None = None
    is_active: bool = True

    def owes(self, message: Logged) -> bool:
        if self.begin is None or not covers(self.pattern, message.topic):
            return False
        through = {message.position[0]: message.position[1]} if self.end is None else self.end
        return within(message.position, self.begin, through)


@dataclass
class _Told:
    """What the server said of the messages between two cursors, and when (an event's number)."""

    number: int
    after: Offsets
    through: Offsets


@dataclass
class _Wire:
    """What came over one connection."""

    seen: set[tuple[str, int]] = field(default_factory=set)
    last: Offsets = field(default_factory=dict)


class CheckedClient:
    """Takes one client's events in order; then judges them against the log."""

    def __init__(self, name: str, report: Report) -> None:
        self.name = name
        self.granted: list[str] = []
        self._report = report
        self._subscriptions: list[_Subscription] = []
        self._cursor: Offsets = {}
        self._last_handled: Offsets = {}
        self._handled: dict[tuple[str, int], tuple[int, float]] = {}
        self._misordered: set[tuple[str, int]] = set()
        self._wires: dict[int, _Wire] = {}
        self._excuses: list[_Told] = []
        self._claims: list[_Told] = []
        self._open: set[int] = set()
        self._was_connected = False
        self._absences: list[tuple[float, float]] = []
        self._away_since: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether the client left of its own will and did not come back."""
        return self._away_since is not None

    # --- Taking events ------------------------------------------------------------------------

    def take_connection(self, event: Connecting | Connected | Disconnected) -> None:
        """Note how the client comes and goes."""
        if isinstance(event, Disconnected):
            self._open.discard(event.connection)
            if event.on_purpose and not self._open:
                self._away_since = event.at
            self._report.counts["left" if event.on_purpose else "connections broken"] += 1
            return
        if self._away_since is not None:
            self._absences.append((self._away_since, event.at))
            self._away_since = None
        if isinstance(event, Connected):
            self._open.add(event.connection)
            self._report.counts["reconnects" if self._was_connected else "clients"] += 1
            self._was_connected = True

    def take_subscription(self, event: Subscribed | Unsubscribed) -> None:
        """Note what the client subscribes to."""
        if isinstance(event, Subscribed):
            self._subscriptions.append(_Subscription(event.pattern, event.begin))
            return
        for subscription in self._subscriptions:
            if subscription.is_active and subscription.pattern == event.pattern:
                subscription.is_active = False
                subscription.end = dict(self._cursor)

    def take_received(self, event: Received) -> None:
        """Check what a connection brings: permitted, each message once, in order."""
        self._report.counts["received"] += 1
        self._report.counts["received as replayed"] += event.replayed
        if not self._may_receive(event.topic):
            self._add(Anomaly.UNAUTHORISED, event)
        place = (event.topic, event.seq)
        wire = self._wires.setdefault(event.connection, _Wire())
        partition, offset = event.position
        if place in wire.seen:
            self._add(Anomaly.REPEATED, event)
        elif offset < wire.last.get(partition, 0):
            self._is_misordered(event)
        wire.seen.add(place)
        wire.last[partition] = max(wire.last.get(partition, 0), offset)

    def take_handled(self, number: int, event: Handled) -> None:
        """Check what the handler gets: each message once, in order."""
        self._report.counts["handled"] += 1
        place = (event.topic, event.seq)
        partition, offset = event.position
        if place in self._handled:
            self._add(Anomaly.DUPLICATE_HANDLED, event)
            return
        self._handled[place] = (number, event.at)
        if offset < self._last_handled.get(partition, 0):
            self._is_misordered(event)
        self._last_handled[partition] = max(self._last_handled.get(partition, 0), offset)
        self.move({partition: offset})

    def take_recovered(self, number: int, event: Recovered) -> None:
        """Note what a recovery promises or excuses."""
        if event.recovered:
            self._report.counts["recovered"] += 1
            self._claims.append(_Told(number, event.since, event.cursor))
        else:
            self._report.counts[f"recovered: false, {event.reason}"] += 1
            self._excuses.append(_Told(number, dict(self._cursor), event.cursor))
        self.move(event.cursor)

    def take_gap(self, number: int, event: Gap) -> None:
        """Note what a gap excuses; the client's cursor is set to it, backwards too."""
        self._report.counts["gaps"] += 1
        self._excuses.append(_Told(number, dict(self._cursor), event.cursor))
        self._cursor = dict(event.cursor)
        self._last_handled = dict(event.cursor)

    def move(self, cursor: Offsets) -> None:
        """Merge a cursor into the client's."""
        for partition, offset in cursor.items():
            self._cursor[partition] = max(self._cursor.get(partition, 0), offset)

    def _may_receive(self, topic: str) -> bool:
        return self._is_granted(topic) and any(
            subscription.is_active and covers(subscription.pattern, topic)
            for subscription in self._subscriptions
        )

    def _is_granted(self, topic: str) -> bool:
        return any(covers(pattern, topic) for pattern in self.granted)

    def _is_misordered(self, event: Received | Handled) -> None:
        place = (event.topic, event.seq)
        if place not in self._misordered:
            self._misordered.add(place)
            self._add(Anomaly.OUT_OF_ORDER, event)

    # --- Judging ------------------------------------------------------------------------------

    def judge(self, log: Iterable[tuple[Logged, int, float]]) -> None:
        """Compare with the log: messages, the number of the event that first published each, and
        the time from which on its delivery was due."""
        for message, published, due in log:
            if self._is_granted(message.topic) and any(
                subscription.owes(message) for subscription in self._subscriptions
            ):
                self._judge(message, published, due)

    def _judge(self, message: Logged, published: int, due: float) -> None:
        place = (message.topic, message.seq)
        number, at = self._handled.get(place, (math.inf, math.inf))
        is_handled = place in self._handled
        if not is_handled:
            if place in self._misordered:
                return  # it came, too late for a client that keeps a cursor; that is reported
            if any(
                published < excuse.number and within(message.position, excuse.after, excuse.through)
                for excuse in self._excuses
            ):
                self._report.counts["excused"] += 1
                return
        if any(
            claim.number < number and within(message.position, claim.after, claim.through)
            for claim in self._claims
        ):
            self._add(Anomaly.FALSE_RECOVERED, message)
        elif not is_handled and within(message.position, {}, self._cursor):
            self._add(Anomaly.SILENT_GAP, message)
        elif at > self._deadline(due):
            self._add(Anomaly.UNDELIVERED, message)

    def _deadline(self, due: float) -> float:
        """Return when a message is late; time that the client is away by its own will is free."""
        for left, back in [*self._absences, (self._away_since or math.inf, math.inf)]:
            if left < due + DELIVERY_SECONDS and back > due:
                due = back
        return due + DELIVERY_SECONDS

    def _add(self, kind: Anomaly, what: Received | Handled | Logged) -> None:
        self._report.add(
            kind, f"{self.name}: {what.topic} {what.seq} at {what.position}, {what.id}"
        )
