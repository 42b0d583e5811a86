"""Counting deliveries, and the stamps that they carry."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.frames import Frame, Opcode
from bench.load.stamps import find_stamps, notification
from bench.load.tally import Tally, parse
from bench.machine.clock import STAMP_DIGITS, stamp
from tests.bench.test_frames import server_frame

STAMP = 10 ** (STAMP_DIGITS - 1)


def message(at: int) -> bytes:
    return server_frame(Opcode.TEXT, b'{"type":"message","payload":{"t":%d}}' % at)


def test_a_stamp_has_its_fixed_width_and_never_goes_back() -> None:
    first, second = stamp(), stamp()
    assert first <= second
    assert len(str(first)) == STAMP_DIGITS


@pytest.mark.parametrize("payload_bytes", [200, 310, 1000, 40_000])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_notification_has_its_size_and_its_stamp(
    payload_bytes: int, separators: tuple[str, str]
) -> None:
    before, after = notification(payload_bytes)
    text = b"%b%d%b" % (before, STAMP + 5, after)
    assert len(text) == payload_bytes
    # A server may write the object anew, with other spaces or another order of keys.
    again = json.dumps(json.loads(text), separators=separators, sort_keys=True).encode()
    assert find_stamps(text) == find_stamps(again) == [STAMP + 5]


def test_a_notification_too_small_for_its_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        notification(20)


@pytest.mark.parametrize("text", [b"", b'{"type":"subscribed","topic":"t","timestamp":1}'])
def test_other_texts_have_no_stamp(text: bytes) -> None:
    assert find_stamps(text) == []


def test_a_read_is_split_into_messages_others_and_rest() -> None:
    ping, other = server_frame(Opcode.PING, b"x"), server_frame(Opcode.TEXT, b"{}")
    batch = parse(message(STAMP) + ping + message(STAMP + 1) + other + b"\x81")
    assert batch.stamps == (STAMP, STAMP + 1)
    assert batch.stamp_sum == 2 * STAMP + 1
    assert batch.others == (Frame(Opcode.PING, b"x"), Frame(Opcode.TEXT, b"{}"))
    assert batch.rest == b"\x81"


@given(st.lists(st.lists(st.integers(0, 90), max_size=4), max_size=200))
def test_remembered_reads_count_as_parsed_ones_do(reads: list[list[int]]) -> None:
    tally = Tally()
    for read in reads:
        data = b"".join(message(STAMP + at) for at in read)
        assert tally.read(data, STAMP + 100) == parse(data)
    assert tally.latencies == [100 - at for read in reads for at in read]
    assert tally.received == len(tally.latencies)


def test_the_awaited_delivery_is_announced() -> None:
    tally, calls = Tally(), list[int]()
    tally.at(2, lambda: calls.append(tally.received))
    tally.read(message(STAMP), STAMP)
    assert calls == []
    tally.read(message(STAMP), STAMP)
    assert calls == [2]


def test_what_has_come_already_is_announced_at_once() -> None:
    tally, calls = Tally(), list[int]()
    tally.read(message(STAMP), STAMP)
    tally.at(1, lambda: calls.append(tally.received))
    assert calls == [1]


def test_restart_forgets_deliveries_and_whom_to_tell() -> None:
    tally, calls = Tally(), list[int]()
    tally.read(message(STAMP), STAMP)
    tally.at(2, lambda: calls.append(tally.received))
    tally.restart()
    tally.read(message(STAMP) * 3, STAMP + 7)
    assert (tally.received, tally.latencies, calls) == (3, [7, 7, 7], [])
