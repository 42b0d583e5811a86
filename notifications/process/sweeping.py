"""The sweeps, on the timers of a server where Celery beat does not run them."""

import asyncio

import structlog
from django.utils import timezone

from notifications.database import in_background
from notifications.errors import Unavailable
from notifications.services.sweeps import BREATH, PURGES, SWEEPS, run_alone, run_sweep

OF_THEIR_OWN = frozenset({"deliveries", *PURGES})
"""The sweeps that have another timer than the others."""

logger = structlog.get_logger(__name__)


async def sweep() -> None:
    """Run the sweeps that are soon done, one after the other, whichever fail."""
    for name in SWEEPS:
        if name not in OF_THEIR_OWN:
            try:
                await in_background(run_sweep, name, now=timezone.now())
            except Exception as error:
                _note(name, error)


async def purge() -> None:
    """Run the sweeps that take messages out of the log, in turns, until nothing is left to do."""
    left = list(PURGES)
    while left:
        left = [name for name in left if await _goes_on(name)]
        if left:
            await asyncio.sleep(BREATH)


async def sweep_deliveries() -> None:
    """Carry acknowledged delivery on."""
    await in_background(run_alone, "deliveries", now=timezone.now())


async def _goes_on(name: str) -> bool:
    try:
        return await in_background(run_alone, name, now=timezone.now())
    except Exception as error:
        _note(name, error)
        return False


def _note(name: str, error: Exception) -> None:
    if isinstance(error, Unavailable):
        cause = str(error.__cause__).strip()
        logger.warning("a sweep failed; the others run", sweep=name, error=cause)
    else:
        logger.error("a sweep failed; the others run", sweep=name, exc_info=error)
