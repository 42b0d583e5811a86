"""What an untrusted cursor becomes, and how a client's own moves."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.recovery.cursor import (
    MAX_OFFSET,
    CursorTrack,
    Offsets,
    Unrecovered,
    below,
    later,
    named,
    parse_cursor,
    unnamed,
)
from tests.recovery.vectors import CURSORS

PARSE = CURSORS["parse"]

OFFSET = st.integers(0, MAX_OFFSET)
FEW = st.integers(0, 30)
OFFSETS = st.tuples(FEW, FEW, FEW)
PARTIAL = st.dictionaries(st.sampled_from(["0", "1", "2"]), FEW)
POSITION = st.tuples(st.integers(0, 2), st.integers(1, 30))

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
# Values that are nearly cursors: each part is right, or nearly, or anything.
KEYS = (
    st.sampled_from(["0", "1", "2", "3", "00", "-1", "99999", "100000", "", "\u0661"]) | st.text()
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "epoch": st.sampled_from(["x1", "x2"]) | JSON,
        "offsets": st.dictionaries(KEYS, st.integers(-1, 12) | JSON, max_size=4) | JSON,
        "colour": JSON,
    },
)
HEADS = st.lists(st.integers(0, 10), max_size=4)


def is_well_formed(value: Any) -> bool:
    """Say by other means than the implementation whether a value is a cursor at all."""
    if not isinstance(value, dict) or not isinstance(value.get("epoch"), str):
        return False
    offsets = value.get("offsets")
    if not isinstance(offsets, dict):
        return False
    return all(
        key in {str(number) for number in range(100)} | {"99999"}
        and isinstance(offset, int)
        and not isinstance(offset, bool)
        and 0 <= offset < 2**53
        for key, offset in offsets.items()
    )


@pytest.mark.parametrize("row", PARSE["rows"], ids=lambda row: row["name"])
def test_parse_does_as_the_vectors_say(row: dict[str, Any]) -> None:
    found = parse_cursor(row["value"], epoch=PARSE["epoch"], heads=row.get("heads", PARSE["heads"]))
    assert found == (tuple(row["offsets"]) if "offsets" in row else row["reason"])


@given(value=NEARLY | JSON, heads=HEADS)
def test_parse_is_total_and_accepts_exactly_the_well_formed(value: Any, heads: list[int]) -> None:
    found = parse_cursor(value, epoch="x1", heads=heads)
    if not is_well_formed(value):
        assert found is Unrecovered.BAD_CURSOR
    elif value["epoch"] != "x1":
        assert found is Unrecovered.EPOCH_CHANGED
    elif any(
        int(key) >= len(heads) or offset > heads[int(key)]
        for key, offset in value["offsets"].items()
    ):
        assert found is Unrecovered.BAD_CURSOR
    else:
        assert found == tuple(value["offsets"].get(str(n), 0) for n in range(len(heads)))


@given(heads=st.lists(OFFSET, max_size=12), data=st.data())
def test_every_place_that_the_log_has_had_is_accepted(
    heads: list[int], data: st.DataObject
) -> None:
    place = tuple(data.draw(st.integers(0, head)) for head in heads)
    wire = {"epoch": "x1", "offsets": named(place)}
    assert parse_cursor(wire, epoch="x1", heads=heads) == place


@pytest.mark.parametrize(
    "value",
    [
        {"epoch": "x1", "offsets": {0: 1}},  # MessagePack has other keys than text
        {"epoch": "x1", "offsets": {b"0": 1}},
        {"epoch": b"x1", "offsets": {}},
        {"epoch": "x1", "offsets": {"0": 1.0}},  # equal to an offset, and none
        {b"epoch": "x1", b"offsets": {}},
    ],
)
def test_what_only_python_can_tell_apart_is_malformed(value: Any) -> None:
    assert parse_cursor(value, epoch="x1", heads=[5]) is Unrecovered.BAD_CURSOR


def test_the_reasons_are_in_the_order_in_which_they_are_looked_at() -> None:
    assert [*Unrecovered] == ["BAD_CURSOR", "EPOCH_CHANGED", "BEYOND_RETENTION", "TOO_MANY"]


@pytest.mark.parametrize(
    ("offsets", "partitions", "expected"),
    [
        ((4, 0, 7), [0, 1, 2], [1]),  # at the floor nothing is missing
        ((4, 0, 7), [0, 2], []),  # what nobody wants does not count
        ((3, 0, 6), [2, 0], [2, 0]),
        ((0, 0, 0), [], []),
    ],
)
def test_below_names_the_partitions_that_lost_something(
    offsets: Offsets, partitions: list[int], expected: list[int]
) -> None:
    assert below(offsets, (4, 1, 7), partitions) == expected


@given(one=OFFSETS, other=OFFSETS, third=OFFSETS)
def test_later_is_a_least_upper_bound(one: Offsets, other: Offsets, third: Offsets) -> None:
    both = later(one, other)
    assert both == later(other, one)
    assert later(both, both) == both == later(both, one)
    assert later(both, third) == later(one, later(other, third))
    for offset, *pair in zip(both, one, other, strict=True):
        assert offset == max(pair)


@given(offsets=OFFSETS)
def test_names_come_back_as_offsets(offsets: Offsets) -> None:
    assert unnamed(named(offsets), len(offsets)) == offsets


def test_partitions_without_a_name_count_as_zero() -> None:
    assert named((7, 0)) == {"0": 7, "1": 0}
    assert unnamed({"2": 5}, 4) == (0, 0, 5, 0)
    assert unnamed({}, 2) == (0, 0)


# --- The client's side --------------------------------------------------------------------------


def started(offsets: dict[str, int], epoch: str = "x1") -> CursorTrack:
    track = CursorTrack()
    track.reset(epoch, offsets)
    return track


def place(track: CursorTrack) -> Offsets:
    here = track.snapshot()
    assert here is not None
    return unnamed(here[1], 3)


@pytest.mark.parametrize("row", CURSORS["track"], ids=lambda row: row["name"])
def test_a_track_does_as_the_vectors_say(row: dict[str, Any]) -> None:
    track = CursorTrack()
    for step in row["do"]:
        match step:
            case {"advance": position}:
                track.advance(tuple(position))
            case {"merge": cursor}:
                track.merge(cursor["epoch"], cursor["offsets"])
            case {"reset": cursor}:
                track.reset(cursor["epoch"], cursor["offsets"])
            case {"covers": position, "is": expected}:
                assert track.covers(tuple(position)) is expected, step
            case _:
                pytest.fail(f"unknown step {step}")
    expected = row["cursor"]
    assert track.snapshot() == (expected and (expected["epoch"], expected["offsets"]))


@given(start=PARTIAL, one=PARTIAL, other=PARTIAL)
def test_merging_commutes_and_repeats_without_effect(
    start: dict[str, int], one: dict[str, int], other: dict[str, int]
) -> None:
    track, mirrored = started(start), started(start)
    for first, second in ((one, other), (one, one), (other, one)):
        track.merge("x1", first)
        track.merge("x1", second)
        mirrored.merge("x1", second)
        mirrored.merge("x1", first)
    assert place(track) == place(mirrored)
    assert place(track) == later(unnamed(start, 3), later(unnamed(one, 3), unnamed(other, 3)))


@given(start=PARTIAL, moves=st.lists(POSITION | PARTIAL))
def test_a_track_never_goes_back_and_covers_exactly_what_it_passed(
    start: dict[str, int], moves: list[tuple[int, int] | dict[str, int]]
) -> None:
    track = started(start)
    for move in moves:
        before = place(track)
        if isinstance(move, dict):
            track.merge("x1", move)
            told = unnamed(move, 3)
        else:
            track.advance(move)
            told = unnamed({str(move[0]): move[1]}, 3)
        assert place(track) == later(before, told)
        for partition, offset in enumerate(place(track)):
            assert offset == 0 or track.covers((partition, offset))
            assert not track.covers((partition, offset + 1))


@given(start=PARTIAL, other=PARTIAL)
def test_another_epoch_replaces_whatever_was(start: dict[str, int], other: dict[str, int]) -> None:
    track = started(start)
    track.merge("x2", other)
    assert track.snapshot() == ("x2", other)


def test_a_snapshot_does_not_move_with_its_track() -> None:
    given_offsets = {"0": 5}
    track = started(given_offsets)
    taken = track.snapshot()
    track.advance((0, 9))
    assert taken == ("x1", {"0": 5})
    assert given_offsets == {"0": 5}
