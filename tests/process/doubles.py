"""Connections without a socket, that remember what their process had them do."""

import uuid
from datetime import datetime

from accounts.principal import Principal
from notifications.hub import Subscriber
from notifications.hub.buffer import Buffer
from notifications.services.sessions import SessionChange

BUFFER_BYTES = 100_000


class Recorder:
    """A connection that remembers how it was closed. told: (subscription id, reason)."""

    def __init__(
        self,
        *,
        principal_id: str = "user:1",
        family: str | None = None,
        connects: int = 1,
        handle: uuid.UUID | None = None,
    ) -> None:
        self.handle: uuid.UUID | None = handle or uuid.uuid4()
        self.connects = connects
        self.principal: Principal | None = Principal(
            id=principal_id,
            user_id=None,
            name=principal_id,
            is_admin=False,
            publish=(),
            subscribe=("**",),
            family=family,
        )
        buffer = Buffer(BUFFER_BYTES, wake=lambda within: None, overflow=lambda: None)
        self.subscriber = Subscriber(buffer)
        self.closed: list[int] = []
        self.revocations = 0
        self.told: list[tuple[str, str]] = []
        self.changed: list[datetime] = []

    def check_deadlines(self, now: float) -> None:
        """Have none."""

    def disconnect(self, code: int, reason: str) -> None:
        """Remember the code."""
        self.closed.append(int(code))

    def end_subscription(self, subscription_id: str, *, code: str | None, reason: str) -> None:
        """Remember it."""
        self.told.append((subscription_id, reason))

    def subscriptions_changed(self, at: datetime) -> None:
        """Remember when."""
        self.changed.append(at)

    def revoke(self) -> None:
        """Count it."""
        self.revocations += 1

    def describe(self) -> SessionChange | None:
        """Have no state."""
        return None


def by_handle(*connections: Recorder) -> dict[uuid.UUID, Recorder]:
    """Return connections as a process keeps them."""
    return {connection.handle: connection for connection in connections if connection.handle}
