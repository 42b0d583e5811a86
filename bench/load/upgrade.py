"""The HTTP upgrade of a WebSocket, RFC 6455 section 4. Pure."""

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_HEAD: Final = 16_384


class UpgradeRefused(Exception):
    """The server did not switch protocols."""


def new_key() -> bytes:
    """Return a fresh Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16))


def request(path: str, port: int, headers: Mapping[str, str], key: bytes) -> bytes:
    """Build the request. It offers no extension, hence no compression."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n"
        f"Sec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def accept(data: bytes, key: bytes) -> bytes | None:
    """Check the server's answer; return what follows it, or None while it is incomplete.

    Raises UpgradeRefused for anything but the 101 that belongs to `key`.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > _MAX_HEAD:
            raise UpgradeRefused("the answer's head does not end")
        return None
    status, *fields = data[:end].split(b"\r\n")
    if status.split(b" ")[1:2] != [b"101"]:
        raise UpgradeRefused(data[:300].decode(errors="replace"))
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    names = {
        name.strip().lower(): value.strip()
        for name, _, value in (field.partition(b":") for field in fields)
    }
    if names.get(b"sec-websocket-accept") != proof:
        raise UpgradeRefused("Sec-WebSocket-Accept does not belong to the key")
    return data[end + 4 :]
