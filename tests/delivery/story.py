"""Histories in the making, for the tests of the checker."""

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
)
from tests.delivery.report import Report

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
