"""Gets tokens, and refreshes them in band before they expire."""

import asyncio
import inspect
import math
from collections.abc import Callable
from typing import Any, Protocol

from bellwether_client.config import Auth, is_text
from bellwether_client.down import Down, unauthenticated
from bellwether_client.errors import NotificationError
from bellwether_client.frames import Refreshed
from bellwether_client.requests import Expected, Reply, Requests
from bellwether_client.retry import RetryController
from bellwether_client.surroundings import Surroundings
from bellwether_client.tasks import Tasks, Timers, is_cancelled

REFRESH_AT = 0.9
"""Part of a token's life after which a fresh one is fetched, if the server has not asked before."""

TOKEN_DEADLINE = 15.0
"""Seconds that the token function may take for a refresh."""


class Told(Protocol):
    """What tokens need of the link, and tell it."""

    retries: RetryController

    def fail(self, down: Down) -> None:
        """There is no token for good."""


class Tokens:
    """The token, or the function that gets one.

    refused: told of a refresh that the server refused; its close with 4401 follows.
    """

    def __init__(
        self,
        auth: Auth,
        *,
        link: Told,
        surroundings: Surroundings,
        tasks: Tasks,
        timers: Timers,
        requests: Requests,
        send: Callable[[dict[str, Any]], None],
        refused: Callable[[NotificationError], None],
    ) -> None:
        self._auth = auth
        self._link = link
        self._surroundings = surroundings
        self._tasks = tasks
        self._timers = timers
        self._requests = requests
        self._send = send
        self._refused = refused
        self._expires_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self) -> str:
        """Return a token; raises whatever the function raises."""
        if isinstance(self._auth, str):
            return self._auth
        token = self._auth()
        token = await token if inspect.isawaitable(token) else token
        if not isinstance(token, str):
            raise TypeError(f"auth returned {type(token).__name__}, not str")
        if not is_text(token):
            raise ValueError("auth returned half of a character, which is no text")
        return token

    def accepted(self, expires_in: float | None) -> None:
        """Plan the refresh of a token. expires_in: milliseconds; None: it does not expire."""
        self._timers.cancel(self._timer)
        self._timer = None
        self._expires_at = math.inf
        if expires_in is not None:
            self._expires_at = self._surroundings.elapsed() + expires_in
        if expires_in is not None and not isinstance(self._auth, str):
            self._timer = self._timers.after(expires_in * REFRESH_AT, self.refresh)

    def refresh(self) -> None:
        """Give the server a fresh token now, so that the connection outlives the old one."""
        if isinstance(self._auth, str) or self._refreshing is not None:
            return  # there is no other; or it is on its way
        self._timers.cancel(self._timer)
        self._timer = None
        self._refreshing = self._tasks.start(self._refresh(0), "token")

    def lost(self) -> None:
        """End with the connection: the next one gets its own token."""
        self._timers.cancel(self._timer)
        self._timer = None
        refreshing, self._refreshing = self._refreshing, None
        if refreshing is not None and refreshing is not asyncio.current_task():
            refreshing.cancel()

    async def _refresh(self, attempt: int) -> None:
        breaker = self._link.retries.tokens
        breaker.attempt()
        self._link.retries.look()
        try:
            async with asyncio.timeout(TOKEN_DEADLINE):
                token = await self.get()
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled():
                raise
            if self._is_due():
                self._failed(attempt, unauthenticated(error))
            return
        if not self._is_due():
            return
        breaker.succeeded()
        self._link.retries.look()
        request_id = self._requests.new_id()
        self._requests.expect(request_id, Expected(self._ok, self._refresh_refused, self._lost))
        self._send({"type": "refresh", "id": request_id, "token": token})

    def _is_due(self) -> bool:
        """Tell whether the present refresh is still wanted: the function may lose a cancellation,
        and come with the token of a connection that is gone."""
        return self._refreshing is asyncio.current_task()

    def _failed(self, attempt: int, down: Down) -> None:
        self._refreshing = None
        self._link.retries.tokens.failed(self._surroundings.elapsed())
        if down.retry:
            self._again(attempt, down.retry_after)
        else:
            self._link.fail(down)
        self._link.retries.look()

    def _again(self, attempt: int, retry_after: float | None) -> None:
        """Try again, as long as this connection lives: the server ends it when the token does."""
        now = self._surroundings.elapsed()
        delay = self._link.retries.token_wait(attempt, retry_after)
        if now + delay >= self._expires_at:
            return

        def run() -> None:
            self._timer = None
            if self._refreshing is None:
                self._refreshing = self._tasks.start(self._refresh(attempt + 1), "token")

        self._timers.cancel(self._timer)
        self._timer = self._timers.after(delay, run)

    def _ok(self, reply: Reply) -> None:
        self._refreshing = None
        if isinstance(reply, Refreshed):
            self.accepted(reply.expires_in)

    def _refresh_refused(self, error: NotificationError) -> None:
        self._refreshing = None
        if error.temporary:
            self._again(0, error.retry_after)
        else:
            self._refused(error)

    def _lost(self) -> None:
        self._refreshing = None
