"""From the log back to live: every message once and in order, whatever happens in between."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from notifications.recovery.cursor import later
from notifications.recovery.splice import Range, Splice

Position = tuple[int, int]


# --- One step after the other ---------------------------------------------------------------------


def test_it_is_fed_range_by_range_from_the_lowest_partition() -> None:
    splice = Splice((2, 0, 5), [2, 0, 0])
    assert splice.next((4, 9, 7)) == Range(partition=0, after=2, through=4)
    splice.fed(0, 3)  # a reader may take less than the whole
    assert splice.next((4, 9, 7)) == (0, 3, 4)
    splice.fed(0, 4)
    assert splice.next((4, 9, 7)) == (2, 5, 7)
    splice.fed(2, 7)
    assert splice.next((4, 9, 7)) is None
    assert splice.place == (4, 0, 7)


def test_what_does_not_concern_it_is_not_read() -> None:
    assert Splice((0, 0), []).next((9, 9)) is None
    assert Splice((0, 0), [1]).next((9, 0)) is None


def test_a_partition_is_fed_from_its_place_once_it_concerns() -> None:
    splice = Splice((3, 4), [1])
    splice.concern([0])
    splice.concern([0, 1])
    assert splice.next((5, 9)) == (0, 3, 5)
    splice.fed(0, 5)
    assert splice.next((5, 9)) == (1, 4, 9)


def test_it_does_not_go_back() -> None:
    splice = Splice((3,), [0])
    splice.fed(0, 2)
    assert splice.place == (3,)


def test_it_does_not_move_the_place_that_it_was_given() -> None:
    place = [1]
    splice = Splice(place, [0])
    splice.fed(0, 2)
    assert place == [1]


# --- Every order of a small world -----------------------------------------------------------------


@dataclass
class World:
    """A log of two partitions, a hub that follows it, and one connection.

    A hub moves and delivers in one go, and has come as far as its client was. The connection's
    reader takes two steps per range: it decides what to read, and later has it. chunk: messages
    that one read brings at most.
    """

    start: tuple[int, int]
    partitions: tuple[int, ...]
    chunk: int
    head: list[int] = field(default_factory=lambda: [3, 2])
    hub: list[int] = field(default_factory=lambda: [2, 2])
    got: list[Position] = field(default_factory=list)
    reading: Range | None = None
    is_live: bool = False

    def __post_init__(self) -> None:
        self.hub = list(later(self.hub, self.start))
        self.splice = Splice(self.start, self.partitions)
        self.wanted = set(self.partitions)

    def append(self, partition: int) -> None:
        """Commit a message; the hub does not know yet."""
        self.head[partition] += 1

    def relay(self) -> None:
        """Let the hub come to the head, and deliver on its way to whoever is live."""
        for partition, head in enumerate(self.head):
            for offset in range(self.hub[partition] + 1, head + 1):
                if self.is_live and partition in self.wanted:
                    self.got.append((partition, offset))
            self.hub[partition] = head

    def read(self) -> None:
        """Take one step of the reader."""
        if self.is_live:
            return
        if self.reading is None:
            self.reading = self.splice.next(self.hub)
            self.is_live = self.reading is None
            return
        partition, after, through = self.reading
        through = min(through, after + self.chunk)
        assert through <= self.head[partition]
        self.got += [(partition, offset) for offset in range(after + 1, through + 1)]
        self.splice.fed(partition, through)
        self.reading = None

    def concern(self, partition: int) -> None:
        """Subscribe to another partition, while the splice lasts."""
        if not self.is_live:
            self.splice.concern([partition])
            self.wanted.add(partition)

    def finish(self) -> None:
        """Let everything come to rest."""
        self.relay()
        while not self.is_live:
            self.read()
        self.relay()

    def check(self) -> None:
        """See that each message after the start came once, in the order of its partition."""
        for partition, first in enumerate(self.start):
            offsets = [offset for where, offset in self.got if where == partition]
            expected = range(first + 1, self.head[partition] + 1)
            assert offsets == (list(expected) if partition in self.wanted else [])


Step = Callable[[World], None]


def append_0(world: World) -> None:
    world.append(0)


def append_1(world: World) -> None:
    world.append(1)


def read(world: World) -> None:
    world.read()


def relay(world: World) -> None:
    world.relay()


def concern_1(world: World) -> None:
    world.concern(1)


def interleavings(*scripts: tuple[Step, ...]) -> Iterator[list[Step]]:
    """Yield every order that keeps each script's own."""
    if not any(scripts):
        yield []
    for number, script in enumerate(scripts):
        if script:
            rest = [*scripts[:number], script[1:], *scripts[number + 1 :]]
            for order in interleavings(*rest):
                yield [script[0], *order]


PUBLISHES = (append_0, append_1, append_0)


@pytest.mark.parametrize("start", [(0, 0), (2, 2), (3, 0)])
@pytest.mark.parametrize("chunk", [1, 100])
def test_each_message_comes_once_and_in_order(start: tuple[int, int], chunk: int) -> None:
    ended_live = ended_before = 0
    for order in interleavings(PUBLISHES, (relay, relay), (read,) * 5):
        world = World(start, (0, 1), chunk)
        for step in order:
            step(world)
        ended_live += world.is_live
        ended_before += not world.is_live
        world.finish()
        world.check()
    assert ended_before  # the orders reach into the replay
    assert ended_live or (chunk, start) != (100, (2, 2))  # and beyond it


@pytest.mark.parametrize("chunk", [1, 100])
def test_a_partition_that_is_added_in_the_middle_comes_whole(chunk: int) -> None:
    added = 0
    for order in interleavings(PUBLISHES, (relay, relay), (read,) * 3, (concern_1,)):
        world = World((1, 1), (0,), chunk)
        for step in order:
            step(world)
        world.finish()
        world.check()
        added += 1 in world.wanted
    assert added


def test_one_partition_alone_is_all_that_comes() -> None:
    for order in interleavings(PUBLISHES, (relay,), (read,) * 4):
        world = World((0, 0), (1,), 100)
        for step in order:
            step(world)
        world.finish()
        world.check()


class HastySplice(Splice):
    """One that goes live as soon as it has come to where the hub stood when it began."""

    def __init__(self, place: tuple[int, int], partitions: tuple[int, ...]) -> None:
        super().__init__(place, partitions)
        self.target: list[int] | None = None

    def next(self, target: list[int]) -> Range | None:  # type: ignore[override]  # on purpose
        """Aim at the first target for ever."""
        self.target = self.target or list(target)
        return super().next(self.target)


def test_these_tests_notice_a_hole() -> None:
    def holes() -> Iterator[bool]:
        for order in interleavings(PUBLISHES, (relay, relay), (read,) * 5):
            world = World((0, 0), (0, 1), 100)
            world.splice = HastySplice((0, 0), (0, 1))
            for step in order:
                step(world)
            world.finish()
            try:
                world.check()
            except AssertionError:
                yield True

    assert any(holes())
