"""The one process of each event loop: started when first needed, stopped with the server."""

import asyncio

from notifications.process.process import Process

_processes: dict[asyncio.AbstractEventLoop, asyncio.Task[Process]] = {}


async def this_process() -> Process:
    """Return the process of the running event loop, started.

    Raises Unavailable (or what `start` met) when it cannot be started; the next call tries again.
    """
    loop = asyncio.get_running_loop()
    task = _processes.get(loop)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        task = _processes[loop] = loop.create_task(_start())
    return await asyncio.shield(task)


def running_process() -> Process | None:
    """Return the process of the running event loop if it has started; never starts it."""
    task = _processes.get(asyncio.get_running_loop())
    if task is None or not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


async def stop_process() -> None:
    """Stop the process of the running event loop, if there is one."""
    task = _processes.pop(asyncio.get_running_loop(), None)
    if task is not None and task.done() and task.exception() is None:
        await task.result().stop()


async def _start() -> Process:
    process = Process()
    await process.start()
    return process
