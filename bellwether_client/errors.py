"""The errors of this client.

::

    Exception
    ├── NotificationError    a request was refused: by the server, or by the queue here
    ├── ConnectionError      there is no connection (also a builtins.ConnectionError)
    └── IllegalTransition    a mistake of this client
"""

import builtins
from collections.abc import Mapping
from typing import Any

from bellwether_client.codes import DisconnectReason

_HINTS: dict[DisconnectReason, str] = {
    "client_initiated": "Call connect() to come back.",
    "server_initiated": "Ask who runs the server; connect() tries again.",
    "network_error": "Check the URL, and that the server runs and can be reached.",
    "authentication_failed": "Check the token, and that its user may connect.",
    "timeout": "Check the network between here and the server.",
    "protocol_error": "Check that the URL is a Bellwether server's, of a version that fits.",
}


class NotificationError(Exception):
    """A refused request.

    code: one of section 4 of docs/protocol.md, or QUEUE_FULL, DROPPED, EXPIRED (of the queue), or
    ENDED (the subscription or the client ended first).
    message: says what to do. temporary: whether the same request may succeed later.
    retry_after: milliseconds until a retry is worth while, or None. data: JSON values, or None.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        temporary: bool = False,
        retry_after: float | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.temporary = temporary
        self.retry_after = retry_after
        self.data = data

    def __str__(self) -> str:
        """Say both."""
        return f"{self.code}: {self.message}"


class ConnectionError(builtins.ConnectionError):
    """A connection that failed or ended.

    reason: whose doing it was. message: what happened. hint: what to do about it.
    close_code: the WebSocket's, where one came. status: of HTTP, where the upgrade was refused.
    """

    def __init__(
        self,
        reason: DisconnectReason,
        message: str,
        *,
        close_code: int | None = None,
        status: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason: DisconnectReason = reason
        self.message = message
        self.close_code = close_code
        self.status = status
        self.hint = hint or _HINTS[reason]

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be copied, and pickled, with its reason."""
        return (type(self), (self.reason, self.message), self.__dict__)

    def __str__(self) -> str:
        """Say what happened, with the code where there is one."""
        code = "" if self.close_code is None else f" (close code {self.close_code})"
        return f"{self.message}{code}"


class IllegalTransition(Exception):
    """An event that the present state does not know: a mistake of this client."""
