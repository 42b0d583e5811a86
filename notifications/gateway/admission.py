"""Which upgrades are let in: the right origin, a known subprotocol, room for one more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog

from notifications.conf import conf
from notifications.errors import BadFrame
from notifications.process.gate import Gate, Refused
from notifications.protocol.codec import (
    DEFAULT_SUBPROTOCOL,
    SUBPROTOCOLS,
    Codec,
    choose_subprotocol,
)

logger = structlog.get_logger(__name__)

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Admitted:
    """The upgrade goes on.

    subprotocol: what is echoed, None when none was offered. address: what it counts for.
    """

    codec: Codec
    subprotocol: str | None
    address: str


def address_of(scope: dict[str, Any]) -> str:
    """Return the address that a request counts for.

    It is the peer's or, where that is a trusted proxy, the right-most in X-Forwarded-For that is
    none: what stands before it anybody may have written.
    """
    peer = (scope.get("client") or ("",))[0]
    trusted = conf().trusted_proxies
    if peer not in trusted:
        return str(peer)
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    told = [one.strip() for one in b",".join(lines).decode("latin-1").split(",")]
    return next((one for one in reversed(told) if one and one not in trusted), str(peer))


def admit(scope: dict[str, Any], gate: Gate, *, draining: bool, now: float) -> Admitted | Refused:
    """Decide on an upgrade. now: seconds of the event loop's clock."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    if origin and not origin_allowed(
        origin, host=host, secure=scope.get("scheme") == "wss", allowed=conf().allowed_origins
    ):
        logger.warning(
            "an upgrade from a foreign origin was refused; ALLOWED_ORIGINS lists those allowed",
            origin=origin,
            host=host,
        )
        return Refused(403, "This origin may not connect. The server's ALLOWED_ORIGINS says which.")
    if draining:
        return Refused(503, "This server is stopping. Connect again.", retry_after=1)
    try:
        subprotocol = choose_subprotocol(scope.get("subprotocols") or [])
    except BadFrame as error:
        return Refused(400, error.message)
    address = address_of(scope)
    refusal = gate.refusal(address, now=now)
    if refusal is not None:
        return refusal
    return Admitted(SUBPROTOCOLS[subprotocol or DEFAULT_SUBPROTOCOL], subprotocol, address)


def origin_allowed(origin: str, *, host: str, secure: bool, allowed: Iterable[str]) -> bool:
    """Tell whether a browser page of this origin may connect.

    With `allowed` empty, the page's host and port must be those of the request. The scheme is not
    compared then: behind a TLS proxy the server cannot know it, and one host is one owner.
    """
    allowed = tuple(allowed)
    if allowed:
        return origin in allowed
    try:
        page = urlsplit(origin)
        asked = urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(page.scheme)
        asked_default = default if not secure else 443
        return (
            page.scheme in _DEFAULT_PORTS
            and page.hostname is not None
            and page.hostname == asked.hostname
            and (page.port or default) == (asked.port or asked_default)
        )
    except ValueError:  # a port that is no number, brackets that are no address
        return False
