"""The servers that the gateway's tests run on: ours, and any that speaks plain ASGI."""

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

EACH_SERVER_AND_CODEC = [(server, codec) for server in SERVERS for codec in SUBPROTOCOLS]
"""Parameters for a module's fixture; tests/scheduling.py keeps those of a server together."""
