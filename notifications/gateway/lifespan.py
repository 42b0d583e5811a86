"""The server's lifespan: the process starts before the first request and stops after the last."""

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from django.core.checks import run_checks

from notifications.process import stop_process, this_process

GC_THRESHOLDS = (10_000, 10, 10)
"""Of the garbage collector: it looks at everything once in a million objects that stay, which are
those of some thousand connections."""

logger = structlog.get_logger(__name__)


async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer an ASGI server's lifespan events."""
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            if faults := _faults_of_settings():
                await send({"type": "lifespan.startup.failed", "message": faults})
                return
            try:
                await this_process()
            except Exception as error:
                # Without a database the server still answers /healthz and /readyz, and starts
                # for real with the first socket that finds the database again.
                logger.error("not started yet", error=f"{type(error).__name__}: {error}")
            _spare_the_collector()
            await send({"type": "lifespan.startup.complete"})
        else:
            await stop_process()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _faults_of_settings() -> str:
    """Return what is wrong with the settings, and what to set; empty when they can be served with.

    `manage.py serve` has run these checks before; a server that is started without it has not.
    """
    found = run_checks(tags=["accounts", "notifications"])
    return "\n".join(
        f"{one.msg} {one.hint} ({one.id})"
        for one in found
        if one.is_serious() and not one.is_silenced()
    )


def _spare_the_collector() -> None:
    """Have the cyclic garbage collector look at less, and less often.

    What is there before the first connection stays for good. What connections are made of is freed
    by its reference counts; but by default the collector would look at all of it again and again
    while thousands connect, for up to a third of the server's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
