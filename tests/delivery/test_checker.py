"""The checker: a clean history is green, and each anomaly alone is found and named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.delivery.anomalies import ANOMALIES
from tests.delivery.checked_client import covers
from tests.delivery.checker import check
from tests.delivery.history import (
    Connecting,
    Disconnected,
    Evidence,
    FaultOff,
    FaultOn,
    Gap,
    Granted,
    History,
    Invoked,
    Moved,
    Planned,
    Subscribed,
    Unknown,
    read_history,
)
from tests.delivery.report import Anomaly
from tests.delivery.story import TOPIC, Story, clean


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
    story.add(Evidence(fault="kill 2", what="a socket broke"))  # not by the fault: it is over
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
