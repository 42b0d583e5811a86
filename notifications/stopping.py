"""Ending background tasks for certain.

One cancellation may be lost: before Python 3.12 `asyncio.wait_for`, which the Redis client awaits
in each send, returns its result instead of raising CancelledError when both come in one turn of
the loop. A task that is in an endless loop would then run for ever, and so would its `await`.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

AGAIN_AFTER = 0.5
"""Seconds until a task that goes on is cancelled again."""

ATTEMPTS = 10
"""Cancellations of one task; then it is left to itself, and the log names it."""

logger = structlog.get_logger(__name__)


async def stop_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and wait for their end, AGAIN_AFTER * ATTEMPTS seconds at most.

    What they raise is not raised here. A cancellation of the caller is.
    """
    running = set(tasks)
    for _ in range(ATTEMPTS):
        for task in running:
            task.cancel()
        if running:
            _, running = await asyncio.wait(running, timeout=AGAIN_AFTER)
    if running:
        names = sorted(task.get_name() for task in running)
        logger.error("tasks do not end; they are left behind", tasks=names)
