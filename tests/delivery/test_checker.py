"""The checker: a clean history is green, and each anomaly alone is found and named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.delivery.checked_client import covers
from tests.delivery.checker import check
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
    History,
    Invoked,
    Logged,
    Moved,
    Offsets,
    Planned,
    Received,
    Recovered,
    Stopped,
    Subscribed,
    Unknown,
    Unsubscribed,
    read_history,
)
from tests.delivery.report import Anomaly, Report

TOPIC = "shop.1.a"
OTHER = "shop.1.b"


class Story:
    """A history in the making; every event happens a tenth of a second after the one before.

    Messages are named by their offset: m1 is the message at (0, 1).
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 100.0
        self.seqs: dict[int, tuple[str, int]] = {}
        self.log: list[Logged] = []

    def add(self, *events: Event) -> None:
        for event in events:
            self.now += 0.1
            event.at = self.now
            self.events.append(event)

    def client(self, name: str = "ada", pattern: str = "shop.**") -> None:
        self.add(
            Granted(client=name, patterns=["shop.**"]),
            Connecting(client=name, connection=1),
            Connected(client=name, connection=1, server="first"),
            Moved(client=name, cursor={0: 0}),
            Subscribed(client=name, pattern=pattern, begin={0: 0}),
        )

    def publish(self, offset: int, topic: str = TOPIC, *, answered: bool = True) -> None:
        """Publish a message that gets into the log, answered or not."""
        key = f"k{offset}"
        seq = 1 + sum(1 for name, _ in self.seqs.values() if name == topic)
        self.seqs[offset] = (topic, seq)
        self.add(Planned(publisher="p", key=key, due=self.now))
        self.add(Invoked(publisher="p", key=key, topic=topic))
        if answered:
            self.acknowledge(offset)
        self.log.append(
            Logged(id=f"m{offset}", topic=topic, seq=seq, position=(0, offset), key=key)
        )

    def acknowledge(self, offset: int, *, key: str = "", id_: str = "") -> None:
        topic, seq = self.seqs[offset]
        self.add(
            Acknowledged(
                publisher="p",
                key=key or f"k{offset}",
                topic=topic,
                id=id_ or f"m{offset}",
                seq=seq,
                position=(0, offset),
            )
        )

    def receive(self, offset: int, name: str = "ada", *, connection: int = 1) -> None:
        topic, seq = self.seqs[offset]
        self.add(
            Received(
                client=name,
                connection=connection,
                id=f"m{offset}",
                topic=topic,
                seq=seq,
                position=(0, offset),
            )
        )

    def handle(self, offset: int, name: str = "ada") -> None:
        topic, seq = self.seqs[offset]
        self.add(Handled(client=name, id=f"m{offset}", topic=topic, seq=seq, position=(0, offset)))

    def deliver(self, *offsets: int, name: str = "ada", connection: int = 1) -> None:
        for offset in offsets:
            self.receive(offset, name, connection=connection)
            self.handle(offset, name)

    def leave(self, *, on_purpose: bool = True) -> None:
        self.add(Disconnected(client="ada", connection=1, server="first", on_purpose=on_purpose))

    def come_back(self) -> None:
        self.add(Connecting(client="ada", connection=2))
        self.add(Connected(client="ada", connection=2, server="second", resumed=True))

    def recovered(self, since: Offsets, cursor: Offsets, *, whole: bool = True) -> None:
        reason = "" if whole else "TOO_MANY"
        self.add(
            Recovered(client="ada", recovered=whole, since=since, cursor=cursor, reason=reason)
        )

    def judge(self) -> Report:
        self.add(Stopped(), *self.log)
        return check(self.events)


def clean() -> Story:
    """A run with a fault, a retry, an absence, a gap, an end of a subscription: all as promised."""
    story = Story()
    story.client()
    story.client("bob", "shop.*.b")
    story.add(Subscribed(client="bob", pattern="shop.2.*", begin={0: 0}))
    story.publish(1)
    story.deliver(1)
    story.acknowledge(1)  # a retry of what was answered already
    story.publish(2, OTHER)
    story.deliver(2)
    story.deliver(2, name="bob")
    story.leave()
    story.publish(3)
    story.add(FaultOn(fault="kill", needs=["the process is gone"]))
    story.add(Evidence(fault="kill", what="the process is gone"))
    story.publish(4, OTHER, answered=False)
    story.add(Unknown(publisher="p", key="k4", reason="the connection broke"))
    story.add(FaultOff(fault="kill"))
    story.add(Invoked(publisher="p", key="k4", topic=OTHER))
    story.acknowledge(4)
    story.deliver(4, name="bob")
    story.come_back()
    story.deliver(3, 4, connection=2)
    story.recovered({0: 2}, {0: 4})
    story.receive(4, connection=1)  # what an older socket of the client still brought is dropped
    story.publish(5, OTHER)
    story.add(Gap(client="ada", cursor={0: 5}, reason="EPOCH_CHANGED"))
    story.deliver(5, name="bob")
    story.add(Unsubscribed(client="bob", pattern="shop.*.b"))
    story.publish(6, OTHER)
    story.deliver(6, connection=2)
    story.publish(7)
    story.recovered({0: 6}, {0: 7}, whole=False)
    story.add(Invoked(publisher="p", key="refused", topic=TOPIC))
    story.add(Failed(publisher="p", key="refused", reason="FORBIDDEN"))
    return story


def test_a_clean_history_is_green() -> None:
    report = clean().judge()
    assert (report.verdict, report.anomalies, report.invalid) == ("green", {}, [])
    assert report.counts == {
        "planned": 7,
        "published": 8,
        "acknowledged": 7,
        "failed attempts": 1,
        "unknown attempts": 1,
        "logged": 7,
        "faults": 1,
        "clients": 2,
        "reconnects": 1,
        "left": 1,
        "received": 9,
        "received as replayed": 0,
        "handled": 8,
        "recovered": 1,
        "recovered: false, TOO_MANY": 1,
        "gaps": 1,
        "excused": 2,
        "planned in quiet phases": 6,
        "acknowledged in quiet phases": 6,
    }
    assert "verdict: green" in str(report)


# --- One anomaly each -----------------------------------------------------------------------------


def lost(story: Story) -> None:
    story.publish(1)
    story.log.clear()


def refused_and_logged(story: Story) -> None:
    story.publish(1, answered=False)
    story.add(Failed(publisher="p", key="k1", reason="FORBIDDEN"))
    story.deliver(1)


def logged_without_a_publish(story: Story) -> None:
    story.publish(1)
    story.log.append(Logged(id="m2", topic=TOPIC, seq=2, position=(0, 2), key="nobody's"))
    story.seqs[2] = (TOPIC, 2)
    story.deliver(1, 2)


def received_and_not_logged(story: Story) -> None:
    story.publish(1)
    story.deliver(1)
    story.seqs[2] = (TOPIC, 2)
    story.deliver(2)


def another_id_for_a_place(story: Story) -> None:
    story.publish(1)
    story.add(
        Received(client="ada", connection=1, id="x", topic=TOPIC, seq=1, position=(0, 1)),
        Handled(client="ada", id="x", topic=TOPIC, seq=1, position=(0, 1)),
    )


def another_place_for_an_id(story: Story) -> None:
    story.publish(1)
    story.deliver(1)
    story.add(Received(client="ada", connection=1, id="m1", topic=TOPIC, seq=2, position=(0, 2)))
    story.add(Handled(client="ada", id="m1", topic=TOPIC, seq=2, position=(0, 2)))


def retry_answered_with_another_message(story: Story) -> None:
    story.publish(1)
    story.publish(2)
    story.acknowledge(2, key="k1")
    story.deliver(1, 2)


def one_key_twice_in_the_log(story: Story) -> None:
    story.publish(1)
    story.publish(2)
    story.log[1].key = "k1"
    story.deliver(1, 2)


def handled_twice(story: Story) -> None:
    story.publish(1)
    story.deliver(1)
    story.handle(1)


def repeated_on_one_connection(story: Story) -> None:
    story.publish(1)
    story.deliver(1)
    story.receive(1)


def received_out_of_order(story: Story) -> None:
    """The client's cursor covers the second, so it is never handled."""
    story.publish(1)
    story.publish(2)
    story.deliver(2)
    story.receive(1)


def handled_out_of_order(story: Story) -> None:
    story.publish(1)
    story.publish(2)
    story.deliver(2, 1)


def passed_over_by_a_message(story: Story) -> None:
    story.publish(1)
    story.publish(2)
    story.deliver(2)


def passed_over_by_a_pong(story: Story) -> None:
    story.publish(1)
    story.add(Moved(client="ada", cursor={0: 1}))


def in_the_log_unanswered_and_passed_over(story: Story) -> None:
    story.publish(1, answered=False)
    story.publish(2)
    story.deliver(2)


def missed_before_what_a_gap_excuses(story: Story) -> None:
    story.publish(1)
    story.publish(2)
    story.publish(3)
    story.deliver(2)
    story.add(Gap(client="ada", cursor={0: 3}, reason="LOG"))


def excused_in_advance(story: Story) -> None:
    """A cursor cannot speak for what was published after it was given."""
    story.recovered({0: 0}, {0: 1}, whole=False)
    story.publish(1)


def unsubscribed_after_it_was_passed_over(story: Story) -> None:
    story.publish(1)
    story.publish(2)
    story.deliver(2)
    story.add(Unsubscribed(client="ada", pattern="shop.**"))
    story.publish(3)


def beyond_the_grants(story: Story) -> None:
    story.publish(1, "bank.1.a")
    story.add(Subscribed(client="ada", pattern="bank.**", begin={0: 0}))
    story.receive(1)


def not_subscribed(story: Story) -> None:
    story.add(Unsubscribed(client="ada", pattern="shop.**"))
    story.publish(1)
    story.receive(1)


def never_delivered(story: Story) -> None:
    story.publish(1)


def delivered_late(story: Story) -> None:
    story.publish(1)
    story.now += 10.1
    story.deliver(1)


def delivered_late_after_the_last_heal(story: Story) -> None:
    story.publish(1)
    story.add(FaultOn(fault="kill", needs=[]), FaultOff(fault="kill"))
    story.now += 10
    story.deliver(1)


def delivered_late_after_coming_back(story: Story) -> None:
    story.leave()
    story.publish(1)
    story.now += 30
    story.come_back()
    story.now += 10.1
    story.deliver(1, connection=2)


def broken_and_never_back(story: Story) -> None:
    """Who did not leave by their own will is owed everything."""
    story.leave(on_purpose=False)
    story.publish(1)


def recovered_with_a_hole(story: Story) -> None:
    story.publish(1)
    story.publish(2)
    story.leave()
    story.come_back()
    story.deliver(2, connection=2)
    story.recovered({0: 0}, {0: 2})


def recovered_before_the_replay_was_over(story: Story) -> None:
    story.publish(1)
    story.leave()
    story.come_back()
    story.recovered({0: 0}, {0: 1})
    story.deliver(1, connection=2)


ANOMALIES: list[tuple[Anomaly, Callable[[Story], None]]] = [
    (Anomaly.LOST, lost),
    (Anomaly.PHANTOM, refused_and_logged),
    (Anomaly.PHANTOM, logged_without_a_publish),
    (Anomaly.PHANTOM, received_and_not_logged),
    (Anomaly.TWO_IDS, another_id_for_a_place),
    (Anomaly.TWO_PLACES, another_place_for_an_id),
    (Anomaly.PUBLISHED_TWICE, retry_answered_with_another_message),
    (Anomaly.PUBLISHED_TWICE, one_key_twice_in_the_log),
    (Anomaly.DUPLICATE_HANDLED, handled_twice),
    (Anomaly.REPEATED, repeated_on_one_connection),
    (Anomaly.OUT_OF_ORDER, received_out_of_order),
    (Anomaly.OUT_OF_ORDER, handled_out_of_order),
    (Anomaly.SILENT_GAP, passed_over_by_a_message),
    (Anomaly.SILENT_GAP, passed_over_by_a_pong),
    (Anomaly.SILENT_GAP, in_the_log_unanswered_and_passed_over),
    (Anomaly.SILENT_GAP, missed_before_what_a_gap_excuses),
    (Anomaly.SILENT_GAP, excused_in_advance),
    (Anomaly.SILENT_GAP, unsubscribed_after_it_was_passed_over),
    (Anomaly.UNAUTHORISED, beyond_the_grants),
    (Anomaly.UNAUTHORISED, not_subscribed),
    (Anomaly.UNDELIVERED, never_delivered),
    (Anomaly.UNDELIVERED, delivered_late),
    (Anomaly.UNDELIVERED, delivered_late_after_the_last_heal),
    (Anomaly.UNDELIVERED, delivered_late_after_coming_back),
    (Anomaly.UNDELIVERED, broken_and_never_back),
    (Anomaly.FALSE_RECOVERED, recovered_with_a_hole),
    (Anomaly.FALSE_RECOVERED, recovered_before_the_replay_was_over),
]


@pytest.mark.parametrize(("kind", "tell"), ANOMALIES, ids=[tell.__name__ for _, tell in ANOMALIES])
def test_each_anomaly_alone_is_found(kind: Anomaly, tell: Callable[[Story], None]) -> None:
    story = Story()
    story.client()
    tell(story)
    report = story.judge()
    assert report.verdict == "red"
    assert {found: len(what) for found, what in report.anomalies.items()} == {kind: 1}
    assert f"[1] {kind}" in str(report)


def test_every_kind_has_a_history() -> None:
    assert {kind for kind, _ in ANOMALIES} == set(Anomaly)


# --- What is no anomaly ---------------------------------------------------------------------------


def test_an_unknown_outcome_may_be_no_message() -> None:
    story = clean()
    story.add(Invoked(publisher="p", key="k", topic=TOPIC))
    story.add(Unknown(publisher="p", key="k", reason="the connection broke"))
    assert story.judge().verdict == "green"


def test_time_away_by_ones_own_will_does_not_count() -> None:
    story = clean()
    story.add(Disconnected(client="ada", connection=2, server="second", on_purpose=True))
    story.publish(8)
    story.now += 60
    story.add(Connecting(client="ada", connection=3))
    story.now += 9
    story.deliver(8, connection=3)
    assert story.judge().verdict == "green"


def test_a_takeover_is_no_absence() -> None:
    story = Story()
    story.client()
    story.come_back()
    story.leave()  # the older socket
    story.publish(1)
    assert story.judge().kinds == {Anomaly.UNDELIVERED}


def test_a_subscription_that_the_client_was_not_told_of_permits_and_owes_nothing() -> None:
    story = clean()
    story.add(
        Granted(client="ada", patterns=["**"]),
        Subscribed(client="ada", pattern="bank.*", begin=None),
    )
    story.publish(8, "bank.a")
    story.deliver(8)
    story.publish(9, "bank.b")
    story.add(Moved(client="ada", cursor={0: 9}))
    assert story.judge().verdict == "green"


def test_a_gap_may_set_a_cursor_back() -> None:
    story = Story()
    story.client()
    story.publish(1)
    story.publish(2)
    story.recovered({0: 0}, {0: 2}, whole=False)
    story.add(Gap(client="ada", cursor={0: 0}, reason="EPOCH_CHANGED"))
    story.deliver(1, 2)
    assert story.judge().verdict == "green"


# --- Runs that prove nothing ----------------------------------------------------------------------


def test_a_run_without_enough_acknowledged_publishes_is_invalid() -> None:
    story = Story()
    story.client()
    for offset in range(1, 11):
        story.publish(offset)
        story.deliver(offset)
    assert story.judge().verdict == "green"
    for number in range(2):  # 10 of 12
        story.events.insert(-20, Planned(publisher="p", key=f"x{number}", due=story.events[8].at))
    report = check(story.events)
    assert report.verdict == "invalid"
    assert report.invalid == [
        "of 12 publishes planned in quiet phases 10 were acknowledged in them"
    ]
    assert "invalid: of 12" in str(report)


def test_a_publish_that_was_acknowledged_only_in_the_next_fault_is_not_counted() -> None:
    story = Story()
    story.client()
    story.publish(1, answered=False)
    story.add(FaultOn(fault="kill", needs=[]))
    story.acknowledge(1)
    story.add(FaultOff(fault="kill"))
    story.deliver(1)
    assert story.judge().verdict == "invalid"


def test_faults_that_overlap_leave_no_quiet_phase_between_them() -> None:
    story = clean()
    story.add(FaultOn(fault="a", needs=[]), FaultOn(fault="b", needs=[]), FaultOff(fault="a"))
    story.add(Planned(publisher="p", key="x", due=story.now))
    story.add(FaultOff(fault="b"))
    report = story.judge()
    assert report.verdict == "green"
    assert report.counts["planned in quiet phases"] == 6


def test_a_run_in_which_nothing_was_planned_is_invalid() -> None:
    story = Story()
    story.client()
    assert check(story.events).verdict == "invalid"


def test_a_fault_that_did_not_bite_is_invalid() -> None:
    story = clean()
    story.add(FaultOn(fault="kill 2", needs=["the process is gone", "a socket broke"]))
    story.add(Evidence(fault="kill 2", what="the process is gone"))
    story.add(FaultOff(fault="kill 2"))
    report = story.judge()
    assert report.verdict == "invalid"
    assert report.invalid == ["kill 2 did not bite: no a socket broke"]


def test_a_fault_that_was_not_healed_is_invalid() -> None:
    story = clean()
    story.add(FaultOn(fault="kill 2", needs=[]))
    report = story.judge()
    assert report.invalid == ["kill 2 was not healed"]


def test_a_client_that_was_away_at_the_end_is_invalid_and_not_late() -> None:
    story = clean()
    story.add(Disconnected(client="ada", connection=2, server="second", on_purpose=True))
    story.publish(8)
    report = story.judge()
    assert report.verdict == "invalid"
    assert report.invalid == ["ada was away when the history ended"]


# --- Its parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.**", "a.b.c", True),
        ("a.**", "a", False),
        ("**", "a", True),
        ("a.*.**", "a.b", False),
        ("a.*.**", "a.b.c.d", True),
    ],
)
def test_covers(pattern: str, topic: str, expected: bool) -> None:
    assert covers(pattern, topic) is expected


def test_a_history_is_read_back_as_it_was_recorded(tmp_path: Path) -> None:
    story = clean()
    with History(tmp_path / "history.jsonl") as history:
        history.record(*story.events)
    read = read_history(history.path)
    assert list(read) == story.events, "recording set the times of the same events"
    times = [event.at for event in read]
    assert times == sorted(times)
