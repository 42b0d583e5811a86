"""Development settings over a channel layer that loses every nth hint, to prove the repair."""

import os
from typing import Any

from channels.layers import InMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer

LOSE_EVERY = int(os.environ.get("LOSE_EVERY", "50"))


class _Loses:
    """Counts the hints that are sent and drops every LOSE_EVERYth."""

    sent = 0

    def loses(self, message: dict[str, Any]) -> bool:
        """Tell whether a lone hint is lost; take those out of a bundle that are."""
        if message["type"] == "log.bundle":
            message["hints"] = [hint for hint in message["hints"] if not self._loses_next()]
            return not message["hints"]
        return message["type"] == "log.appended" and self._loses_next()

    def _loses_next(self) -> bool:
        type(self).sent += 1
        return type(self).sent % LOSE_EVERY == 0


class LossyInMemoryLayer(_Loses, InMemoryChannelLayer):  # type: ignore[misc]
    """The in-process layer, losing."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if not self.loses(message):
            await super().group_send(group, message)


class LossyRedisLayer(_Loses, RedisPubSubChannelLayer):  # type: ignore[misc]
    """The Redis layer, losing."""

    def __getattr__(self, name: str) -> Any:
        return self._lossy_send if name == "group_send" else super().__getattr__(name)

    async def _lossy_send(self, group: str, message: dict[str, Any]) -> None:
        layer: RedisPubSubLoopLayer = self._get_layer()
        if not self.loses(message):
            await layer.group_send(group, message)
