"""Who sent a request, remembered for a moment: most requests come again with the same credentials.

Bound: `KEPT` principals, the oldest go first. What is remembered is believed for `KEPT_SECONDS`,
and forgotten at once when access changes in this process; so a revocation takes effect everywhere
within that time. Credentials are kept as digests.
"""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Any

from accounts.authentication import authenticate_credentials
from accounts.errors import CredentialsError, TokenExpiredError
from accounts.principal import Principal
from accounts.signals import access_changed, family_revoked
from notifications.database import in_database
from notifications.errors import TokenExpired, Unauthenticated

KEPT_SECONDS = 1.5
"""How long credentials are not looked up again; the promise is two seconds."""

KEPT = 10_000
"""Credentials that are remembered."""


class Credentials:
    """The credentials that this event loop has seen lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, asyncio.Task[Principal]]] = OrderedDict()
        access_changed.connect(self._forget)
        family_revoked.connect(self._forget)

    async def principal_of(self, text: str) -> Principal:
        """Return whom an access token or API key proves.

        Requests that come together share one look into the database. Raises Unauthenticated,
        TokenExpired, Unavailable.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        digest = hashlib.sha256(text.encode()).digest()
        kept = self._known.get(digest)
        if kept is None or kept[0] < now or _failed(kept[1]):
            kept = (now + KEPT_SECONDS, loop.create_task(_look_up(text)))
            self._known[digest] = kept
            self._known.move_to_end(digest)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return await asyncio.shield(kept[1])

    def _forget(self, **_: Any) -> None:
        self._known.clear()


def _failed(task: asyncio.Task[Principal]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _look_up(text: str) -> Principal:
    try:
        return await in_database(authenticate_credentials, text)
    except TokenExpiredError as error:
        raise TokenExpired(str(error)) from error
    except CredentialsError as error:
        raise Unauthenticated(str(error)) from error
