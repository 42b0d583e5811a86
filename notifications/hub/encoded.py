"""An encoded frame: made once, and shared by every connection that it goes to."""


class Encoded:
    """The bytes of one frame in the forms that transports want, each made when first wanted.

    data: the frame as its codec wrote it (UTF-8 text of a text codec).
    size: bytes that it takes in a buffer.
    """

    __slots__ = ("_framed", "_text", "data", "size")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self._framed: bytes | None = None
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The frame as text, for servers that do the framing themselves."""
        if self._text is None:
            self._text = self.data.decode()
        return self._text

    @property
    def framed(self) -> bytes:
        """The frame as one WebSocket text message on the wire (RFC 6455, section 5.2).

        What a server sends is not masked, so the same bytes serve every socket.
        """
        if self._framed is None:
            self._framed = _TEXT + _length(self.size) + self.data
        return self._framed


_TEXT = b"\x81"  # the final fragment of a text message


def _length(size: int) -> bytes:
    if size < 126:
        return bytes((size,))
    if size < 65_536:
        return b"\x7e" + size.to_bytes(2, "big")
    return b"\x7f" + size.to_bytes(8, "big")
