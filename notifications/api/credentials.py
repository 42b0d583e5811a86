"""Who sent a request, remembered for a moment: most requests come again with the same credentials.

Bound: `KEPT` principals, the oldest go first. What is remembered is believed for `KEPT_SECONDS`,
and forgotten at once when access changes in this process; so a revocation takes effect everywhere
within that time. Credentials are kept as digests.
"""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Any

from accounts.authentication import principal_of_access_token, principal_of_api_key
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
        self._loop: asyncio.AbstractEventLoop | None = None
        access_changed.connect(self._forget)
        family_revoked.connect(self._forget)

    async def principal_of(self, text: str, *, is_key: bool) -> Principal:
        """Return whom an API key, or an access token, proves.

        Requests that come together share one look into the database. Raises Unauthenticated,
        TokenExpired, Unavailable.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        digest = hashlib.sha256(b"%d%s" % (is_key, text.encode())).digest()
        self._loop = loop
        kept = self._known.get(digest)
        if kept is None or kept[0] < now or _failed(kept[1]):
            self._known.pop(digest, None)
            kept = (now + KEPT_SECONDS, loop.create_task(_look_up(text, is_key=is_key)))
            self._known[digest] = kept
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return await asyncio.shield(kept[1])

    def _forget(self, **_: Any) -> None:
        # Called in the thread that committed the change.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._known.clear)


def _failed(task: asyncio.Task[Principal]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _look_up(text: str, *, is_key: bool) -> Principal:
    prove = principal_of_api_key if is_key else principal_of_access_token
    try:
        return await in_database(prove, text)
    except TokenExpiredError as error:
        raise TokenExpired(str(error)) from error
    except CredentialsError as error:
        raise Unauthenticated(str(error)) from error
