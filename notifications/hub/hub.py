"""The hub: what this process stands for in the log, fanned out to its connections.

Everything but `follow`, `reach` and `attach` happens in one go in the event loop, so a
subscription, the messages after it and the cursor that separates them never disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from notifications import metrics
from notifications.bus import Bus, hints_of
from notifications.bus.bus import ChannelLayer
from notifications.hub.fan_out import HandlingOf, fan_out
from notifications.hub.follower import POLL_INTERVAL, Follower
from notifications.hub.giving import Giver
from notifications.hub.pages import Pages
from notifications.hub.replay import Feeder
from notifications.hub.subscriber import Subscriber, Wish
from notifications.hub.turns import Turns
from notifications.log.creation import LogIdentity
from notifications.log.read import Reading, read_range
from notifications.log.records import Record, now_ms
from notifications.protocol.frames import Cursor
from notifications.recovery.cursor import Offsets, Unrecovered, named
from notifications.recovery.splice import Splice
from notifications.topics.handling import PLAIN
from notifications.topics.index import TopicIndex
from notifications.topics.partitions import partitions_of

REPLAY_CACHE_BYTES = 67_108_864
"""Memory for recent messages unless settings say otherwise."""


class Hub(Follower):
    """The delivery side of one server process.

    on_control: called with each control message of the bus. handling_of: tells what a topic's
    policy says of its live messages.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        identity: LogIdentity,
        *,
        on_control: Callable[[dict[str, Any]], None],
        poll_interval: float = POLL_INTERVAL,
        replay_cache_bytes: int = REPLAY_CACHE_BYTES,
        handling_of: HandlingOf = lambda topic: PLAIN,
    ) -> None:
        super().__init__(identity, poll_interval=poll_interval)
        self.bus = Bus(
            layer,
            on_hint=self._on_hint,
            on_control=on_control,
            on_ephemeral=self._on_ephemeral,
        )
        self.index: TopicIndex[Subscriber] = TopicIndex()
        self.turns = Turns()
        self.pages = Pages(replay_cache_bytes, self._read_page)
        self.feeder = Feeder(self.pages, self.turns, identity.partition_count, heads=self.heads)
        self.giver = Giver(self.offsets)
        self._subscribers: set[Subscriber] = set()
        self._handling_of = handling_of

    async def _read_page(self, partition: int, after: int, through: int) -> Reading:
        return await self.turns.read(read_range, partition, after, through)

    # --- Publishing side ----------------------------------------------------------------------

    def relay(self, records: Sequence[Record]) -> None:
        """Tell all processes, this one too, of new records; call in the event loop."""
        self.bus.announce(hints_of(records, epoch=self.identity.epoch))

    # --- Subscribing side ---------------------------------------------------------------------

    def register(self, subscriber: Subscriber) -> None:
        """Tell a connection of gaps from now on, until it is forgotten."""
        self._subscribers.add(subscriber)

    def add(self, subscriber: Subscriber, pattern: str, wish: Wish) -> None:
        """Deliver what is published to a pattern from now on; `follow` it first."""
        subscriber.wishes[pattern] = wish
        subscriber.changed()
        partitions = partitions_of(pattern, self.identity.partition_count)
        if subscriber.splice is not None:
            subscriber.splice.concern(partitions)
        if not self.index.add(pattern, subscriber):
            return
        self._need(partitions)
        metrics.subscriptions.set(len(self.index))

    def remove(self, subscriber: Subscriber, pattern: str) -> None:
        """Stop delivering what only this pattern matched."""
        subscriber.wishes.pop(pattern, None)
        subscriber.changed()
        if not self.index.remove(pattern, subscriber):
            return
        self._need_no_longer(partitions_of(pattern, self.identity.partition_count))
        metrics.subscriptions.set(len(self.index))

    def forget(self, subscriber: Subscriber) -> None:
        """Remove a connection that is closing or gone."""
        for pattern in list(subscriber.wishes):
            self.remove(subscriber, pattern)
        self._subscribers.discard(subscriber)
        subscriber.close()

    # --- Off the live stream and back -----------------------------------------------------------

    def detach(self, subscriber: Subscriber) -> Offsets:
        """Have live messages pass a connection by until as many calls of `attach`.

        Returns the place of all partitions: what comes after it is brought from the log then.
        """
        subscriber.detached += 1
        now = self.offsets()
        if subscriber.splice is None:
            concerned = (
                number
                for pattern in subscriber.wishes
                for number in partitions_of(pattern, self.identity.partition_count)
            )
            subscriber.splice = Splice(now, concerned)
        return now

    async def attach(self, subscriber: Subscriber) -> None:
        """Bring a connection level with live delivery, and let it follow.

        Raises LostPlaceError, StoppedError and Unavailable, after which it must be closed.
        """
        if subscriber.detached == 1:
            await self.feeder.catch_up(subscriber, self.offsets)
            # Another may have detached it again while this one caught up.
            if subscriber.detached == 1:
                subscriber.splice = None
        subscriber.detached -= 1

    # --- Cursors --------------------------------------------------------------------------------

    def cursor(self, subscriber: Subscriber) -> Cursor:
        """Return the place of all partitions and remember that this connection was told it."""
        subscriber.told = self.offsets()
        return self.cursor_at(subscriber.told)

    def cursor_at(self, offsets: Offsets) -> Cursor:
        """Return a place as it goes on the wire."""
        return Cursor(epoch=self.identity.epoch, offsets=named(offsets))

    def moved(self, subscriber: Subscriber) -> Cursor:
        """Return the place of the partitions that moved since this connection was last told.

        While it is fed from the log, nothing has moved as far as it is concerned.
        """
        if subscriber.splice is not None:
            return Cursor(epoch=self.identity.epoch, offsets={})
        now = self.offsets()
        told, subscriber.told = subscriber.told, now
        if now is told:
            return Cursor(epoch=self.identity.epoch, offsets={})
        return Cursor(
            epoch=self.identity.epoch,
            offsets={
                str(partition): offset
                for partition, (offset, before) in enumerate(zip(now, told, strict=True))
                if offset != before
            },
        )

    # --- What comes from the log ----------------------------------------------------------------

    def _on_ephemeral(self, records: Sequence[Record]) -> None:
        fan_out(self.index, records, now=now_ms(), handling_of=self._handling_of)

    def _deliver(
        self, partition: int, records: Sequence[Record], *, after: int, through: int, floor: int
    ) -> None:
        self.pages.note(partition, after, through, records, floor=floor)
        if records:
            fan_out(self.index, records, now=now_ms(), handling_of=self._handling_of)

    def _tell_purged(self, purged: Sequence[tuple[str, int]]) -> None:
        """Tell whom it concerns that messages were purged before they could be delivered."""
        if len(purged) > 100:
            for subscriber in list(self._subscribers):
                subscriber.tell_gap(None, Unrecovered.BEYOND_RETENTION)
            return
        for topic, _ in purged:
            for subscriber in list(self.index.match(topic)):
                subscriber.tell_gap(topic, Unrecovered.BEYOND_RETENTION)

    def _began_anew(self) -> None:
        self.feeder.begin_anew()
        for subscriber in list(self._subscribers):
            for pattern, wish in subscriber.wishes.items():
                subscriber.wishes[pattern] = replace(wish, begin=())
            subscriber.changed()
            subscriber.acked = self.offsets()  # offsets of the old life compare with nothing
            if subscriber.splice is not None:
                subscriber.lost()  # what it is being fed is of the old life
            else:
                subscriber.told = self.offsets()
                subscriber.tell_gap(None, Unrecovered.EPOCH_CHANGED)
