"""Judge the history of a fault run: every promise that it shows to be broken, and whether it bit.

Pure: events in, a report out. The log, as the auditor found it, is the truth about what was
published; the contract (docs/protocol.md) says what each client had to get of it. What is true of
one client alone is in tests/delivery/checked_client.py.

A publish whose outcome is unknown may or may not be in the log; one that was acknowledged must be,
under the id and at the place that it was acknowledged with, as often as it was retried. Whatever is
in the log must reach every client whose subscriptions want it, acknowledged or not.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.delivery.checked_client import CheckedClient
from tests.delivery.history import (
    Acknowledged,
    Connected,
    Connecting,
    Disconnected,
    Event,
    Evidence,
    Failed,
    FaultOff,
    FaultOn,
    Gap,
    Granted,
    Handled,
    Invoked,
    Logged,
    Moved,
    Planned,
    Received,
    Recovered,
    Stopped,
    Subscribed,
    Unknown,
    Unsubscribed,
)
from tests.delivery.report import Anomaly, Report

QUIET_SHARE = 0.9
"""The share of the publishes planned in quiet phases that must be acknowledged in them."""

Place = tuple[str, int]
"""(topic, seq)."""


def check(history: Sequence[Event]) -> Report:
    """Judge a history: events in the order in which they happened."""
    checker = _Checker()
    for number, event in enumerate(history):
        checker.take(number, event)
    checker.judge()
    return checker.report


@dataclass
class _Publish:
    """What is known of an idempotency key. invoked: the number of its first attempt's event."""

    invoked: int
    last: float
    attempts: int = 0
    refused: int = 0
    acknowledged: list[Acknowledged] = field(default_factory=list)

    @property
    def may_be_in_log(self) -> bool:
        return self.refused < self.attempts


@dataclass
class _Fault:
    """A fault. lacks: what was not seen of it yet."""

    lacks: set[str]
    healed: bool = False


class _Checker:
    """Takes the events one by one, then judges."""

    def __init__(self) -> None:
        self.report = Report()
        self.clients: dict[str, CheckedClient] = {}
        self.publishes: dict[str, _Publish] = {}
        self.planned: dict[str, float] = {}
        self.log: list[Logged] = []
        self.faults: dict[str, _Fault] = {}
        self.turns: list[tuple[float, int]] = []  # (when, one fault more or one less)
        self.ids: dict[Place, set[str]] = defaultdict(set)
        self.places: dict[str, set[Place]] = defaultdict(set)
        self.seen: dict[str, Place] = {}  # what clients got, by id
        self.began = self.ended = self.healed_at = 0.0
        self.stopped_at: float | None = None

    def client(self, name: str) -> CheckedClient:
        """Return what is known of a client."""
        if name not in self.clients:
            self.clients[name] = CheckedClient(name, self.report)
        return self.clients[name]

    # --- Taking events ------------------------------------------------------------------------

    def take(self, number: int, event: Event) -> None:
        """Take the next event. number: its place in the history."""
        self.began = self.began or event.at
        self.ended = event.at
        counts = self.report.counts
        match event:
            case Planned():
                self.planned[event.key] = event.due
                counts["planned"] += 1
            case Invoked() | Acknowledged() | Failed() | Unknown():
                self._take_publishing(number, event)
            case Stopped():
                self.stopped_at = event.at
            case Logged():
                self.log.append(event)
                self._note(event)
                counts["logged"] += 1
            case FaultOn() | Evidence() | FaultOff():
                self._take_fault(event)
            case _:
                self._take_subscribing(number, event)

    def _take_publishing(
        self, number: int, event: Invoked | Acknowledged | Failed | Unknown
    ) -> None:
        publish = self.publishes.setdefault(event.key, _Publish(number, event.at))
        publish.last = event.at
        match event:
            case Invoked():
                if not publish.attempts:
                    self.report.counts["published"] += 1
                publish.attempts += 1
            case Acknowledged():
                if not publish.acknowledged:
                    self.report.counts["acknowledged"] += 1
                publish.acknowledged.append(event)
                self._note(event)
            case Failed():
                publish.refused += 1
                self.report.counts["failed attempts"] += 1
            case _:
                self.report.counts["unknown attempts"] += 1

    def _take_fault(self, event: FaultOn | Evidence | FaultOff) -> None:
        if isinstance(event, FaultOn):
            self.faults[event.fault] = _Fault(set(event.needs))
            self.turns.append((event.at, 1))
            self.report.counts["faults"] += 1
        elif isinstance(event, Evidence):
            if not self.faults[event.fault].healed:
                self.faults[event.fault].lacks.discard(event.what)
        else:
            self.faults[event.fault].healed = True
            self.turns.append((event.at, -1))
            self.healed_at = event.at

    def _take_subscribing(
        self,
        number: int,
        event: Granted
        | Connecting
        | Connected
        | Disconnected
        | Subscribed
        | Unsubscribed
        | Received
        | Handled
        | Moved
        | Recovered
        | Gap,
    ) -> None:
        client = self.client(event.client)
        match event:
            case Granted():
                client.granted = list(event.patterns)
            case Connecting() | Connected() | Disconnected():
                client.take_connection(event)
            case Subscribed() | Unsubscribed():
                client.take_subscription(event)
            case Received():
                self._note(event)
                self.seen[event.id] = (event.topic, event.seq)
                client.take_received(event)
            case Handled():
                self._note(event)
                self.seen[event.id] = (event.topic, event.seq)
                client.take_handled(number, event)
            case Moved():
                client.move(event.cursor)
            case Recovered():
                client.take_recovered(number, event)
            case _:
                client.take_gap(number, event)

    def _note(self, event: Acknowledged | Logged | Received | Handled) -> None:
        place = (event.topic, event.seq)
        self.ids[place].add(event.id)
        self.places[event.id].add(place)

    # --- Judging ------------------------------------------------------------------------------

    def judge(self) -> None:
        """Find what only the whole history shows."""
        self._judge_log()
        self._judge_identity()
        for client in self.clients.values():
            client.judge(
                (
                    message,
                    publish.invoked if (publish := self.publishes.get(message.key)) else 0,
                    self._due(message),
                )
                for message in self.log
            )
            if client.is_away:
                self.report.invalid.append(f"{client.name} was away when the history ended")
        self._judge_faults()
        self._judge_quiet_phases()

    def _judge_log(self) -> None:
        add = self.report.add
        logged_ids = {message.id for message in self.log}
        logged_places = {(message.topic, message.seq) for message in self.log}
        ids_of_key: dict[str, set[str]] = defaultdict(set)
        for message in self.log:
            ids_of_key[message.key].add(message.id)
            publish = self.publishes.get(message.key)
            if publish is None or not publish.may_be_in_log:
                add(Anomaly.PHANTOM, f"in the log, but not published: {message}")
        for key, publish in self.publishes.items():
            for id_ in sorted({one.id for one in publish.acknowledged}):
                ids_of_key[key].add(id_)
                if id_ not in logged_ids:
                    add(Anomaly.LOST, f"{key} was acknowledged as {id_} and is not in the log")
        for key, ids in ids_of_key.items():
            if len(ids) > 1:
                add(Anomaly.PUBLISHED_TWICE, f"{key} is {sorted(ids)}")
        for id_, place in self.seen.items():
            # Another id at a place of the log, or another place, is an anomaly of its own.
            if id_ not in logged_ids and place not in logged_places:
                add(Anomaly.PHANTOM, f"{id_} was received as {place} and is not in the log")

    def _judge_identity(self) -> None:
        for place, ids in self.ids.items():
            if len(ids) > 1:
                self.report.add(Anomaly.TWO_IDS, f"{place} is {sorted(ids)}")
        for id_, places in self.places.items():
            if len(places) > 1:
                self.report.add(Anomaly.TWO_PLACES, f"{id_} is {sorted(places)}")

    def _due(self, message: Logged) -> float:
        """Return from when on the seconds count in which a message must be delivered."""
        publish = self.publishes.get(message.key)
        if publish is None:
            return math.inf  # nobody published it; that is reported
        first = publish.acknowledged[0].at if publish.acknowledged else publish.last
        return max(self.healed_at, first)

    def _judge_faults(self) -> None:
        for name, fault in self.faults.items():
            if fault.lacks:
                self.report.invalid.append(f"{name} did not bite: no {', '.join(fault.lacks)}")
            if not fault.healed:
                self.report.invalid.append(f"{name} was not healed")

    def _judge_quiet_phases(self) -> None:
        planned = done = 0
        for start, end in self._quiet_phases():
            for key, due in self.planned.items():
                if start <= due < end:
                    planned += 1
                    publish = self.publishes.get(key)
                    if publish and any(one.at <= end for one in publish.acknowledged):
                        done += 1
        self.report.counts["planned in quiet phases"] = planned
        self.report.counts["acknowledged in quiet phases"] = done
        if done < QUIET_SHARE * planned or not planned:
            self.report.invalid.append(
                f"of {planned} publishes planned in quiet phases {done} were acknowledged in them"
            )

    def _quiet_phases(self) -> Iterator[tuple[float, float]]:
        quiet_since, active = self.began, 0
        for at, change in self.turns:
            if change > 0 and not active:
                yield quiet_since, at
            active += change
            if not active:
                quiet_since = at
        if not active:
            yield quiet_since, self.ended if self.stopped_at is None else self.stopped_at
