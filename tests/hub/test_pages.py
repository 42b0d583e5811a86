"""The replay cache: what is kept, what is read, and how often."""

import asyncio
import gc
import json
from typing import Any

import msgpack
import pytest

from notifications.errors import Unavailable
from notifications.hub.pages import FORMS, OVERHEAD, PAGE, Pages, Part
from notifications.log.read import Reading
from notifications.log.records import Record
from notifications.protocol.codec import JSON, MSGPACK, SUBPROTOCOLS
from tests.records import record


class Log:
    """A log of `head` messages in each partition, whose readers wait until `let` them go."""

    def __init__(self, head: int, *, floor: int = 0, text: str = "") -> None:
        self.head = head
        self.floor = floor
        self.text = text
        self.reads: list[tuple[int, int, int]] = []
        self.going = asyncio.Event()
        self.going.set()
        self.failure: Exception | None = None

    async def until_reading(self, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while len(self.reads) < count:
                await asyncio.sleep(0)

    async def read(self, partition: int, after: int, through: int) -> Reading:
        self.reads.append((partition, after, through))
        found = self.records(after, through, partition)
        await self.going.wait()
        if self.failure is not None:
            raise self.failure
        return Reading([one for one in found if one.offset > self.floor], self.floor)

    def records(self, after: int, through: int, partition: int = 0) -> list[Record]:
        payload = self.text.encode()
        return [
            record(offset, partition=partition, payload=payload)
            for offset in range(after + 1, min(through, self.head) + 1)
        ]


def offsets(found: Part | None) -> list[int] | None:
    return None if found is None else [kept.record.offset for kept in found[0]]


def through(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


async def test_a_page_is_read_once_and_cut_to_what_is_wanted() -> None:
    log = Log(PAGE + 100)
    pages = Pages(10**9, log.read)
    assert pages.cached(0, 10, 20) is None
    assert offsets(await pages.load(0, 10, 20, head=PAGE + 100)) == through(11, 20)
    assert log.reads == [(0, 0, PAGE)], "the whole page, for those who come next"
    assert offsets(await pages.load(0, 300, PAGE, head=PAGE + 100)) == through(301, PAGE)
    assert offsets(pages.cached(0, 0, PAGE)) == through(1, PAGE)
    assert len(log.reads) == 1
    # The page at the head is read as far as there is something, and not beyond.
    assert offsets(await pages.load(0, PAGE, PAGE + 50, head=PAGE + 100)) == through(501, 550)
    assert log.reads[1:] == [(0, PAGE, PAGE + 100)]
    assert pages.cached(0, PAGE, PAGE + 101) is None


async def test_partitions_are_told_apart() -> None:
    log = Log(10)
    pages = Pages(10**9, log.read)
    found, *_ = await pages.load(3, 0, 10, head=10)
    assert {kept.record.partition for kept in found} == {3}
    assert pages.cached(4, 0, 10) is None


async def test_who_wants_the_same_at_the_same_time_shares_one_read() -> None:
    log = Log(100)
    pages = Pages(10**9, log.read)
    log.going.clear()
    waiting = [asyncio.create_task(pages.load(0, n, 100, head=100)) for n in range(50)]
    await log.until_reading()
    log.going.set()
    for number, found in enumerate(await asyncio.gather(*waiting)):
        assert offsets(found) == through(number + 1, 100)
    assert len(log.reads) == 1


async def test_a_frame_is_made_once_for_all() -> None:
    pages = Pages(10**9, Log(3, text="[1]").read)
    first, *_ = await pages.load(0, 0, 3, head=3)
    second, *_ = await pages.load(0, 1, 3, head=3)
    one, same = first[1], second[0]
    for codec in SUBPROTOCOLS.values():
        assert one.frame(codec, replayed=True) is same.frame(codec, replayed=True)
        assert one.frame(codec, replayed=False) is same.frame(codec, replayed=False)
        assert b"replayed" in one.frame(codec, replayed=True).data
        assert b"replayed" not in one.frame(codec, replayed=False).data
    assert msgpack.unpackb(one.frame(MSGPACK, replayed=True).data) == json.loads(
        one.frame(JSON, replayed=True).data
    )


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    log = Log(10)
    pages = Pages(10**9, log.read)
    log.going.clear()
    log.failure = Unavailable("away")
    waiting = [asyncio.create_task(pages.load(0, 0, 10, head=10)) for _ in range(5)]
    await log.until_reading()
    log.going.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert len(log.reads) == 1
    log.failure = None
    assert offsets(await pages.load(0, 0, 10, head=10)) == through(1, 10)


async def test_one_who_stops_waiting_takes_nothing_from_the_others() -> None:
    log = Log(10)
    pages = Pages(10**9, log.read)
    log.going.clear()
    first = asyncio.create_task(pages.load(0, 0, 10, head=10))
    second = asyncio.create_task(pages.load(0, 0, 10, head=10))
    await log.until_reading()
    first.cancel()
    log.going.set()
    assert offsets(await second) == through(1, 10)
    assert first.cancelled()


async def test_a_failure_that_nobody_waits_for_is_no_unretrieved_exception() -> None:
    unretrieved: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unretrieved.append(context))
    log = Log(10)
    pages = Pages(10**9, log.read)
    log.going.clear()
    log.failure = Unavailable("away")
    waiting = asyncio.create_task(pages.load(0, 0, 10, head=10))
    await log.until_reading()
    waiting.cancel()
    await asyncio.wait([waiting])
    log.going.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del waiting
    gc.collect()
    assert unretrieved == []


async def test_live_messages_fill_pages_across_their_borders() -> None:
    log = Log(3 * PAGE)
    pages = Pages(10**9, log.read)
    pages.note(0, PAGE - 10, PAGE + 10, log.records(PAGE - 10, PAGE + 10))
    pages.note(0, PAGE + 10, PAGE + 12, log.records(PAGE + 10, PAGE + 12))
    assert offsets(pages.cached(0, PAGE - 10, PAGE)) == through(PAGE - 9, PAGE)
    assert offsets(pages.cached(0, PAGE, PAGE + 12)) == through(PAGE + 1, PAGE + 12)
    assert pages.cached(0, PAGE - 11, PAGE) is None, "what was before it is not known"
    assert log.reads == []


async def test_noted_offsets_without_messages_are_known_to_be_empty() -> None:
    log = Log(100)
    pages = Pages(10**9, log.read)
    pages.note(0, 0, 10, [record(2), record(9)])
    assert offsets(pages.cached(0, 0, 10)) == [2, 9]
    assert offsets(pages.cached(0, 2, 8)) == []


async def test_a_repeated_note_adds_nothing() -> None:
    log = Log(20)
    pages = Pages(10**9, log.read)
    pages.note(0, 0, 10, log.records(0, 10))
    pages.note(0, 5, 12, log.records(5, 12))
    pages.note(0, 3, 8, log.records(3, 8))
    assert offsets(pages.cached(0, 0, 12)) == through(1, 12)


async def test_after_a_hole_the_newer_part_is_kept() -> None:
    log = Log(50)
    pages = Pages(10**9, log.read)
    pages.note(0, 0, 10, log.records(0, 10))
    pages.note(0, 20, 30, log.records(20, 30))
    assert offsets(pages.cached(0, 20, 30)) == through(21, 30)
    assert pages.cached(0, 0, 10) is None
    assert pages.cached(0, 5, 25) is None
    # What is read joins it.
    assert offsets(await pages.load(0, 0, 25, head=25)) == through(1, 25)
    assert log.reads == [(0, 0, 25)]
    assert offsets(pages.cached(0, 0, 30)) == through(1, 30)


async def test_what_was_delivered_while_a_page_was_read_is_not_lost() -> None:
    log = Log(50)
    pages = Pages(10**9, log.read)
    log.going.clear()
    loading = asyncio.create_task(pages.load(0, 0, 40, head=40))
    await log.until_reading()
    pages.note(0, 40, 50, log.records(40, 50))
    log.going.set()
    assert offsets(await loading) == through(1, 40)
    assert offsets(pages.cached(0, 0, 50)) == through(1, 50)
    pages.note(0, 50, 51, [record(51)])
    assert offsets(pages.cached(0, 30, 51)) == through(31, 51)


async def test_missing_counts_what_would_have_to_be_read() -> None:
    log = Log(4 * PAGE)
    pages = Pages(10**9, log.read)
    assert pages.missing(0, 10, 3 * PAGE) == 3 * PAGE - 10
    await pages.load(0, PAGE, PAGE + 5, head=4 * PAGE)
    assert pages.missing(0, 10, 3 * PAGE) == 2 * PAGE - 10
    assert pages.missing(0, PAGE, 2 * PAGE) == 0
    pages.note(0, 3 * PAGE - 5, 3 * PAGE, log.records(3 * PAGE - 5, 3 * PAGE))
    assert pages.missing(0, 2 * PAGE, 3 * PAGE) == PAGE, "a part is no use to who needs all"
    assert pages.missing(0, 3 * PAGE - 5, 3 * PAGE) == 0
    assert pages.missing(0, 7, 7) == 0


async def test_the_bound_is_in_bytes_and_the_least_used_page_goes() -> None:
    log = Log(10 * PAGE, text="x" * 100)
    page_bytes = PAGE * (OVERHEAD + FORMS * 100)
    pages = Pages(3 * page_bytes, log.read)
    for number in range(3):
        await pages.load(0, number * PAGE, number * PAGE + 1, head=10 * PAGE)
    assert pages.cached(0, 0, PAGE) is not None  # used again, so it is the youngest now
    await pages.load(0, 3 * PAGE, 3 * PAGE + 1, head=10 * PAGE)
    kept = [number for number in range(4) if pages.cached(0, number * PAGE, number * PAGE + 1)]
    assert kept == [0, 2, 3]
    # Live messages are bounded too, and what was let go can be read again.
    pages.note(0, 4 * PAGE, 6 * PAGE, log.records(4 * PAGE, 6 * PAGE))
    assert pages.missing(0, 0, 6 * PAGE) == 3 * PAGE
    assert offsets(await pages.load(0, PAGE, PAGE + 2, head=10 * PAGE)) == [501, 502]


async def test_live_messages_that_come_one_by_one_are_bounded_too() -> None:
    log = Log(4 * PAGE)
    pages = Pages(2 * PAGE * (OVERHEAD + FORMS * 10), log.read)
    for one in (record(offset) for offset in range(1, 4 * PAGE + 1)):
        pages.note(0, one.offset - 1, one.offset, [one])
    assert pages.missing(0, 0, 4 * PAGE) == 2 * PAGE
    assert pages.missing(0, 2 * PAGE, 4 * PAGE) == 0


async def test_a_page_that_alone_is_over_the_bound_still_serves() -> None:
    log = Log(2 * PAGE)
    pages = Pages(1, log.read)
    assert offsets(await pages.load(0, 0, 5, head=2 * PAGE)) == through(1, 5)
    assert offsets(pages.cached(0, 0, PAGE)) == through(1, PAGE)
    await pages.load(0, PAGE, PAGE + 1, head=2 * PAGE)
    assert pages.cached(0, 0, 1) is None


async def test_the_floor_is_that_under_which_a_page_was_read() -> None:
    log = Log(20, floor=7)
    pages = Pages(10**9, log.read)
    found = await pages.load(0, 0, 20, head=20)
    assert (offsets(found), found[1]) == (through(8, 20), 7)
    log.floor = 15
    again = pages.cached(0, 0, 20)
    assert again is not None
    assert (offsets(again), again[1]) == (through(8, 20), 7), "it still has what was purged since"


async def test_what_was_read_to_fill_a_hole_has_its_floor_too() -> None:
    log = Log(20)
    pages = Pages(10**9, log.read)
    pages.note(0, 4, 10, log.records(6, 10), floor=6)  # 5 and 6 were purged before
    pages.note(0, 10, 12, log.records(10, 12))
    found = pages.cached(0, 4, 12)
    assert found is not None
    assert (offsets(found), found[1]) == (through(7, 12), 6)
    pages.note(0, 12, 16, log.records(14, 16), floor=14)
    again = await pages.load(0, 0, 16, head=16)
    assert again[1] == 0, "read again, and the log had it all"


async def test_a_new_life_of_the_log_begins_with_nothing() -> None:
    log = Log(20)
    pages = Pages(10**9, log.read)
    await pages.load(0, 0, 20, head=20)
    pages.clear()
    assert pages.cached(0, 0, 20) is None


@pytest.mark.parametrize("again", [False, True])
async def test_what_was_being_read_of_the_old_life_is_not_kept(again: bool) -> None:
    log = Log(20)
    pages = Pages(10**9, log.read)
    log.going.clear()
    old = asyncio.create_task(pages.load(0, 0, 20, head=20))
    await log.until_reading()
    pages.clear()
    log.text = "new"
    new = asyncio.create_task(pages.load(0, 0, 20, head=20)) if again else None
    await log.until_reading(1 + again)
    log.going.set()
    await old
    if new is not None:
        await new
    found = await pages.load(0, 0, 20, head=20)
    assert {kept.record.payload for kept in found[0]} == {b"new"}
