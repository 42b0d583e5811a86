"""HTTP/1.1 responses to requests sent one after the other. Pure: bytes in, statuses out."""

import re
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_MAX_HEAD: Final = 16_384


class ResponseError(ValueError):
    """The bytes are no response that this reader understands."""


class ResponseReader:
    """Cuts a stream into responses. Bodies are skipped; each must say its Content-Length."""

    __slots__ = ("_data", "_missing", "_status")

    def __init__(self) -> None:
        self._data = b""
        self._status = 0
        self._missing = 0  # bytes of the current body yet to come; its head has been read

    def feed(self, data: bytes) -> list[int]:
        """Return the status codes of the responses that are whole now. Raises ResponseError."""
        statuses: list[int] = []
        data = self._data + data if self._data else data
        self._data = b""
        while data:
            if not self._status:
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    if len(data) > _MAX_HEAD:
                        raise ResponseError("the response's head does not end")
                    self._data = data
                    break
                self._begin(data[:end])
                data = data[end + 4 :]
            taken = min(self._missing, len(data))
            data = data[taken:]
            self._missing -= taken
            if not self._missing:
                statuses.append(self._status)
                self._status = 0
        return statuses

    def _begin(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 "):
            raise ResponseError(f"not an HTTP/1.1 response: {head[:80]!r}")
        length = _LENGTH.search(head)
        if length is None:
            raise ResponseError(f"a response without Content-Length: {head[:200]!r}")
        self._status = int(head[9:12])
        self._missing = int(length[1])
