"""The servers that the gateway's tests run on: ours, and any that speaks plain ASGI."""

from typing import Any

import pytest

from tests.socket_client import SUBPROTOCOLS

SERVERS: dict[str, tuple[str, ...]] = {
    "serve": (),
    # Without our protocol class: the extension is absent, and the gateway does without.
    "uvicorn": (
        *("-m", "uvicorn", "config.asgi:application", "--port", "{port}"),
        *("--ws", "websockets-sansio", "--ws-max-size", "65536", "--no-access-log"),
    ),
    "daphne": ("runserver", "--noreload", "127.0.0.1:{port}"),
}
"""Arguments of Deployment.start."""


def each_server(tests: str) -> list[Any]:
    """Return parameters for a module's fixture: a kind of server each.

    tests: what is tested. All tests of one server run in one process, so it is started once.
    """
    return [pytest.param(kind, marks=_together(tests, kind)) for kind in SERVERS]


def each_server_and_codec(tests: str) -> list[Any]:
    """Return the same with a codec each: pairs."""
    return [
        pytest.param((kind, codec), id=f"{kind}-{codec}", marks=_together(tests, kind))
        for kind in SERVERS
        for codec in SUBPROTOCOLS
    ]


def _together(tests: str, kind: str) -> pytest.MarkDecorator:
    return pytest.mark.xdist_group(f"{tests}-{kind}")
