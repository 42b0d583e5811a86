"""The socket: a member of its topic's group that passes on what the group is sent."""

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class NotificationConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # untyped base
    """Joins the group that its URL names."""

    async def connect(self) -> None:
        """Join, accept, and say so."""
        self.group = self.scope["url_route"]["kwargs"]["topic"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"type": "ready"})

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def notify(self, event: dict[str, Any]) -> None:
        """Pass one notification on."""
        await self.send_json(event["data"])
