"""The frame parser, fed whole streams in every way TCP may cut them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.frames import Frame, FrameError, Opcode, encode, split


def server_frame(opcode: int, payload: bytes) -> bytes:
    """Build what a server sends: unmasked, whole, with the shortest length that fits."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, length))
    elif length < 65_536:
        head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
    return head + payload


FRAMES = st.lists(
    st.builds(
        Frame,
        st.sampled_from(Opcode),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from((0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 70_001)).map(bytes),
        ),
    ),
    max_size=6,
)


@given(FRAMES, st.data())
def test_any_chunking_gives_the_same_frames(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(server_frame(*frame) for frame in frames)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    parsed: list[Frame] = []
    rest = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found, rest = split(rest + stream[start:end])
        parsed += found
    assert parsed == frames
    assert rest == b""


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_every_unfinished_frame_is_left_for_the_next_read(length: int) -> None:
    whole = server_frame(Opcode.TEXT, bytes(length))
    heads = range(min(len(whole), 16))
    for end in [*heads, len(whole) - 1]:
        assert split(whole[:end]) == ([], whole[:end])


def test_at_most_leaves_the_others_in_the_rest() -> None:
    one, two = server_frame(Opcode.TEXT, b"one"), server_frame(Opcode.TEXT, b"two")
    assert split(one + two, 1) == ([Frame(Opcode.TEXT, b"one")], two)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x01\x00", id="fragment"),
        pytest.param(b"\x80\x00", id="continuation"),
        pytest.param(b"\xc1\x00", id="compressed"),
        pytest.param(b"\x81\x80\x00\x00\x00\x00", id="masked"),
        pytest.param(b"\x83\x00", id="unknown opcode"),
    ],
)
def test_what_a_server_may_not_send_is_an_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        split(data)


@given(st.sampled_from(Opcode), st.one_of(st.binary(max_size=300), st.just(bytes(70_000))))
def test_client_frames_are_masked_and_whole(opcode: Opcode, payload: bytes) -> None:
    frame = encode(opcode, payload)
    assert frame[0] == 0x80 | opcode
    assert frame[1] & 0x80
    head = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    length = frame[1] & 0x7F if head == 2 else int.from_bytes(frame[2:head], "big")
    mask, body = frame[head : head + 4], frame[head + 4 :]
    assert length == len(body) == len(payload)
    assert bytes(byte ^ mask[i % 4] for i, byte in enumerate(body)) == payload
