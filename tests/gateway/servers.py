"""The servers that the gateway's tests run on: ours, and any that speaks plain ASGI."""

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
