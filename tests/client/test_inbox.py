"""The order of messages and cursors, and what the two places of a client mean."""

import asyncio
from typing import Any

import pytest

from notifications.client.inbox import Inbox, Message, cursor_of
from notifications.protocol.frames import Cursor
from notifications.recovery.cursor import CursorTrack


def at(offset: int, partition: int = 0, **fields: Any) -> Message:
    return Message(
        id=f"{partition}-{offset}",
        topic="a",
        payload=offset,
        timestamp="",
        position=(partition, offset),
        **fields,
    )


def cursor(*offsets: int, epoch: str = "x1") -> Cursor:
    return Cursor(epoch=epoch, offsets={str(p): offset for p, offset in enumerate(offsets)})


def offsets(track: CursorTrack) -> dict[str, int]:
    here = cursor_of(track)
    return {} if here is None else here.offsets


def test_there_is_no_cursor_before_the_server_told_one() -> None:
    inbox = Inbox(10)
    assert cursor_of(inbox.handled) is None
    inbox.move(cursor(4))
    assert cursor_of(inbox.handled) == cursor_of(inbox.received) == cursor(4)


async def test_a_message_is_handled_when_the_next_one_is_asked_for() -> None:
    inbox = Inbox(10)
    inbox.move(cursor(4), backwards_too=True)
    for offset in (5, 6):
        inbox.put(at(offset))
    assert offsets(inbox.received) == {"0": 6}
    assert (await inbox.next()).payload == 5
    assert offsets(inbox.handled) == {"0": 4}
    assert (await inbox.next()).payload == 6
    assert offsets(inbox.handled) == {"0": 5}


async def test_a_cursor_counts_when_the_messages_before_it_are_handled() -> None:
    inbox = Inbox(10)
    inbox.move(cursor(4), backwards_too=True)
    inbox.put(at(5))
    inbox.move(cursor(9))
    assert offsets(inbox.handled) == {"0": 4}
    await inbox.next()
    assert offsets(inbox.handled) == {"0": 4}
    inbox.put(at(10))
    await inbox.next()
    assert offsets(inbox.handled) == {"0": 9}


def test_a_cursor_counts_at_once_when_nothing_is_unhandled() -> None:
    inbox = Inbox(1)
    for head in range(1, 4):
        inbox.move(cursor(head))
    assert offsets(inbox.handled) == {"0": 3}
    assert not inbox.is_full


@pytest.mark.parametrize(
    ("resuming", "replayed", "taken"),
    [
        (False, None, False),
        (True, True, False),  # the rest of a resume that was cut off
        (False, True, True),  # a replay that was asked for brings what was seen before
    ],
)
async def test_what_was_received_before_is_dropped_unless_asked_for(
    resuming: bool, replayed: bool | None, taken: bool
) -> None:
    inbox = Inbox(10)
    inbox.move(cursor(7), backwards_too=True)
    inbox.resuming = resuming
    inbox.put(at(7, replayed=replayed))
    inbox.put(at(8))
    assert (await inbox.next()).payload == (7 if taken else 8)


async def test_an_ephemeral_message_moves_nothing() -> None:
    inbox = Inbox(10)
    inbox.move(cursor(7), backwards_too=True)
    inbox.put(Message(id="e", topic="a", payload=None, timestamp=""))
    await inbox.next()
    inbox.put(at(8))
    await inbox.next()
    assert offsets(inbox.handled) == {"0": 7}


async def test_what_waits_comes_before_the_end() -> None:
    inbox = Inbox(1)
    inbox.put(at(1))
    was_full = inbox.is_full
    inbox.end(LookupError("over"))
    assert (was_full, inbox.is_full) == (True, False)
    assert (await inbox.next()).payload == 1
    with pytest.raises(LookupError):
        await inbox.next()


async def test_a_waiting_consumer_gets_what_arrives() -> None:
    inbox = Inbox(1)
    waiting = asyncio.create_task(inbox.next())
    await asyncio.sleep(0)
    inbox.put(at(1))
    assert (await waiting).payload == 1
