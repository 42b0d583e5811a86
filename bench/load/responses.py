"""HTTP/1.1 responses to requests sent one after the other. Pure: bytes in, statuses out."""

import re
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after:\s*\d+\s*(?:\r\n|$)", re.IGNORECASE)
_MAX_HEAD: Final = 16_384


class ResponseError(ValueError):
    """The bytes are no response that this reader understands."""


class ResponseReader:
    """Cuts a stream into responses; each must say its Content-Length.

    Bodies are skipped unless keep_body. body: that of the last whole response, if it is kept.
    retry_after: whether the last head had Retry-After.
    """

    __slots__ = ("_body", "_data", "_missing", "_status", "body", "keep_body", "retry_after")

    def __init__(self, *, keep_body: bool = False) -> None:
        self.keep_body = keep_body
        self.body = b""
        self.retry_after = False
        self._body = b""
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
            if self.keep_body:
                self._body += data[:taken]
            data = data[taken:]
            self._missing -= taken
            if not self._missing:
                statuses.append(self._status)
                self._status = 0
                self.body, self._body = self._body, b""
        return statuses

    def _begin(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 "):
            raise ResponseError(f"not an HTTP/1.1 response: {head[:80]!r}")
        length = _LENGTH.search(head)
        if length is None:
            raise ResponseError(f"a response without Content-Length: {head[:200]!r}")
        self._status = int(head[9:12])
        self.retry_after = _RETRY_AFTER.search(head) is not None
        self._missing = int(length[1])
