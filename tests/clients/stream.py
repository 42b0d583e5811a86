"""Where WebSocket frames begin and end in the bytes of a connection. Pure; reads no payload."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """Bytes of one frame. frame: its number in its direction, or -1 for the HTTP upgrade."""

    frame: int
    data: bytes
    ends: bool


class FrameCutter:
    """Cuts the bytes of one direction at the ends of frames, however they arrive."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left: int | None = None
        self._frame = -1

    def feed(self, data: bytes) -> list[Piece]:
        """Return the pieces that these bytes are made of."""
        pieces = []
        while data:
            piece, data = self._next(data)
            pieces.append(piece)
        return pieces

    def _next(self, data: bytes) -> tuple[Piece, bytes]:
        taken = 0
        while self._left is None and taken < len(data):
            self._head.append(data[taken])
            taken += 1
            self._left = self._payload_length()
        if self._left is not None:
            more = min(self._left, len(data) - taken)
            self._left -= more
            taken += more
        ends = self._left == 0
        piece = Piece(self._frame, data[:taken], ends)
        if ends:
            self._head.clear()
            self._left = None
            self._frame += 1
        return piece, data[taken:]

    def _payload_length(self) -> int | None:
        """Tell how much follows a whole head; None while it is not whole."""
        head = self._head
        if self._frame < 0:
            return 0 if head.endswith(b"\r\n\r\n") else None
        if len(head) < 2:
            return None
        extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        masked = 4 if head[1] & 0x80 else 0
        if len(head) < 2 + extended + masked:
            return None
        return int.from_bytes(head[2 : 2 + extended]) if extended else head[1] & 0x7F
