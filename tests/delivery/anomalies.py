"""Small histories that carry one anomaly each, and the kind that it is."""

from collections.abc import Callable

from tests.delivery.history import (
    Failed,
    FaultOff,
    FaultOn,
    Gap,
    Handled,
    Logged,
    Moved,
    Received,
    Subscribed,
    Unsubscribed,
)
from tests.delivery.report import Anomaly
from tests.delivery.story import TOPIC, Story


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
