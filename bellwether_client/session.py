"""Who this client is to the server, and what of it outlives the process."""

from typing import Any

from bellwether_client.codes import DisconnectReason
from bellwether_client.config import NotificationClientConfig
from bellwether_client.keeper import StateKeeper, StoredState, StoredSubscription
from bellwether_client.progress import Progress
from bellwether_client.subscriptions import Subscriptions
from bellwether_client.surroundings import Surroundings
from bellwether_client.tokens import Tokens
from bellwether_client.version import VERSION


class Session:
    """Makes `auth`, and what is kept.

    asked_to_resume: whether the last `auth` did.
    """

    def __init__(
        self,
        config: NotificationClientConfig,
        *,
        surroundings: Surroundings,
        progress: Progress,
        subscriptions: Subscriptions,
        tokens: Tokens,
    ) -> None:
        self.asked_to_resume = False
        self._config = config
        self._surroundings = surroundings
        self._progress = progress
        self._subscriptions = subscriptions
        self._tokens = tokens
        self._client_id: str | None = None
        self._id: str | None = None

    async def hello(
        self, keeper: StateKeeper, attempt: int, last_reason: DisconnectReason | None
    ) -> dict[str, Any]:
        """Make the first frame of a connection; raises what the token function raises."""
        if self._client_id is None:
            await self._recall(keeper)
        token = await self._tokens.get()
        config, cursor = self._config, self._progress.cursor()
        frame: dict[str, Any] = {
            "type": "auth",
            "token": token,
            "clientId": self._client_id,
            "capabilities": ["batch"],
            "client": {"name": "bellwether_client", "version": VERSION, "kind": config.kind},
        }
        self.asked_to_resume = self._id is not None and cursor is not None
        if self._id is not None and cursor is not None:
            frame["resume"] = {"sessionId": self._id, "cursor": cursor.to_wire()}
        if attempt > 0:
            frame["attempt"] = attempt
        if last_reason is not None:
            frame["lastDisconnectReason"] = last_reason
        if config.batch is not None:
            frame["batch"] = config.batch.to_wire()
        return frame

    def accepted(self, session_id: str) -> None:
        """Take the id by which the server knows the session."""
        self._id = session_id

    def state(self) -> StoredState | None:
        """Return what is to be kept; None before it was looked up."""
        if self._client_id is None:
            return None
        kept = tuple(
            StoredSubscription(entry.topic, entry.options, entry.created_at, entry.replay_from)
            for entry in self._subscriptions.all()
            if entry.was_confirmed
        )
        return StoredState(self._client_id, self._id, self._progress.cursor(), kept)

    async def _recall(self, keeper: StateKeeper) -> None:
        """Take up what an earlier run of this client left."""
        stored = await keeper.load()
        wanted = self._config.client_id
        if stored is None or (wanted is not None and stored.client_id != wanted):
            self._client_id = wanted or f"python-{self._surroundings.new_id()}"
            keeper.changed()
            return
        self._client_id = stored.client_id
        if stored.session_id is not None and stored.cursor is not None:
            self._id = stored.session_id
            self._progress.reset(stored.cursor)
        for one in stored.subscriptions:
            self._subscriptions.recall(
                one.topic, one.options, one.created_at, replay_from=one.replay_from
            )
