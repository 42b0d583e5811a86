"""WebSocket frames, the client's side of RFC 6455 section 5. Pure: bytes in, frames out.

Only what a benchmark's server sends: whole, unmasked frames without extensions. Anything else is
an error, so that a message is never miscounted in silence.
"""

import os
import sys
from enum import IntEnum
from typing import Final, NamedTuple


class Opcode(IntEnum):
    """What a frame is."""

    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}


class Frame(NamedTuple):
    """One frame from the server."""

    opcode: Opcode
    payload: bytes


class FrameError(ValueError):
    """The bytes are no frame that this benchmark's servers may send."""


def split(data: bytes, at_most: int = sys.maxsize) -> tuple[list[Frame], bytes]:
    """Cut `data` into its whole frames, `at_most` so many, and the bytes after them.

    The rest belongs before the bytes of the next read. Raises FrameError on a fragmented, masked
    or extended frame and on an unknown opcode.
    """
    frames: list[Frame] = []
    start, end = 0, len(data)
    while end - start >= 2 and len(frames) < at_most:
        first, length = data[start], data[start + 1]
        if first & 0xF0 != 0x80 or length & 0x80 or (first & 0x0F) not in _OPCODES:
            raise FrameError(f"not a whole, plain server frame: {data[start : start + 14]!r}")
        body = start + 2
        if length == 126:
            body += 2
            length = int.from_bytes(data[start + 2 : body], "big")
        elif length == 127:
            body += 8
            length = int.from_bytes(data[start + 2 : body], "big")
        # A cut-off length field reads as some number, but its body then begins past the end.
        if body + length > end:
            break
        frames.append(Frame(_OPCODES[first & 0x0F], data[body : body + length]))
        start = body + length
    return frames, data[start:]


def encode(opcode: Opcode, payload: bytes) -> bytes:
    """Build one client frame, masked as the RFC demands."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
    mask = os.urandom(4)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    masked = (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")
    return head + mask + masked
