"""Who sent a request, remembered for a moment: most requests come again with the same credentials.

Bound: `KEPT` principals, the oldest go first. What is remembered is believed for `KEPT_SECONDS`
from the moment when it was asked for, and forgotten at once when access changes in this process;
so a revocation takes effect everywhere within that time. What proves nothing is not remembered.
Credentials are kept as digests.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from accounts.authentication import principal_of_access_token, principal_of_api_key
from accounts.errors import CredentialsError, TokenExpiredError
from accounts.principal import Principal
from accounts.signals import access_changed, family_revoked
from notifications.database import in_database
from notifications.errors import TokenExpired, Unauthenticated

KEPT_SECONDS = 1.5
"""How long credentials are not looked up again; the promise is two seconds."""

REFRESH_SECONDS = 0.5
"""Age from which credentials that come again are looked up anew, while they are believed still: on
a busy server a look takes long, and nobody should wait for it, nor it find its answer too old."""

KEPT = 10_000
"""Credentials that are remembered."""


class Credentials:
    """The credentials that this event loop has seen lately.

    now: seconds of a clock that never goes back. wall: seconds since 1970.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._now = now
        self._wall = wall
        self._known: OrderedDict[bytes, tuple[float, asyncio.Task[Principal]]] = OrderedDict()
        self._refreshing: set[bytes] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        access_changed.connect(self._forget)
        family_revoked.connect(self._forget)

    def known(self, text: str, digest: bytes, *, is_key: bool) -> Principal | None:
        """Return whom credentials prove as far as that is remembered; call in the event loop.

        digest: digest_of them.
        """
        kept = self._known.get(digest)
        if kept is None or not kept[1].done() or _failed(kept[1]):
            return None
        age = self._now() - kept[0]
        if age > KEPT_SECONDS:
            return None
        if age > REFRESH_SECONDS and digest not in self._refreshing:
            self._refresh(text, digest, is_key=is_key)
        principal = kept[1].result()
        if principal.expires_at is not None and principal.expires_at <= self._wall():
            return None
        return principal

    async def principal_of(self, text: str, *, is_key: bool) -> Principal:
        """Return whom an API key, or an access token, proves.

        Requests that come together share one look into the database. Raises Unauthenticated,
        TokenExpired, Unavailable.
        """
        digest = digest_of(text, is_key=is_key)
        if (principal := self.known(text, digest, is_key=is_key)) is not None:
            return principal
        now = self._now()
        kept = self._known.get(digest)
        if kept is None or now - kept[0] > KEPT_SECONDS or kept[1].done():
            kept = (now, self._look_up(text, is_key=is_key))
            self._keep(digest, kept)
            kept[1].add_done_callback(lambda done: self._forget_failed(digest, done))
        return await asyncio.shield(kept[1])

    def _refresh(self, text: str, digest: bytes, *, is_key: bool) -> None:
        began, before = self._now(), self._known[digest]
        self._refreshing.add(digest)

        def done(task: asyncio.Task[Principal]) -> None:
            self._refreshing.discard(digest)
            if self._known.get(digest) is not before:
                return  # access changed meanwhile, and what was found may be from before that
            if not _failed(task):
                self._keep(digest, (began, task))
            elif not task.cancelled() and isinstance(
                task.exception(), Unauthenticated | TokenExpired
            ):
                del self._known[digest]

        self._look_up(text, is_key=is_key).add_done_callback(done)

    def _look_up(self, text: str, *, is_key: bool) -> asyncio.Task[Principal]:
        self._loop = asyncio.get_running_loop()
        return self._loop.create_task(_look_up(text, is_key=is_key))

    def _keep(self, digest: bytes, kept: tuple[float, asyncio.Task[Principal]]) -> None:
        self._known.pop(digest, None)
        self._known[digest] = kept
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def _forget_failed(self, digest: bytes, task: asyncio.Task[Principal]) -> None:
        kept = self._known.get(digest)
        if _failed(task) and kept is not None and kept[1] is task:
            del self._known[digest]

    def _forget(self, **_: Any) -> None:
        # Called in the thread that committed the change.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._known.clear)


def digest_of(text: str, *, is_key: bool) -> bytes:
    """Return what stands for credentials wherever they are kept."""
    return hashlib.sha256(b"%d%s" % (is_key, text.encode())).digest()


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
