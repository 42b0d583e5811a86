"""A subscriber that reads slowly or not at all, and then comes back for the rest."""

from bench.load import sluggish
from tests.deployment import Server
from tests.socket_client import connect


class Sluggish(sluggish.Sluggish):
    """One client of a server, from its first connection to the end of its resume."""

    def __init__(self, server: Server, key: str, client_id: str, topic: str) -> None:
        super().__init__(server.port, key, client_id, topic)
        self._server = server

    async def resume(self, last: int) -> list[int]:
        """Come back, wait for the message with the number `last`, return all numbers that came."""
        cursor = self.success["cursor"]
        if self.place is not None:
            partition, offset = self.place
            cursor = {**cursor, "offsets": {**cursor["offsets"], str(partition): offset}}
        resume = {"sessionId": self.success["sessionId"], "cursor": cursor}
        async with connect(self._server.socket_url, ping_interval=None) as client:
            answer = await client.authenticate(self.key, self.client_id, resume=resume)
            assert answer["resumed"] is True, answer
            got: list[int] = []
            while (read := await client.receive(60))["type"] == "message":
                got.append(read["seq"])
            assert (read["type"], read["recovered"]) == ("replay_complete", True), read
            while not got or got[-1] < last:
                got.append((await client.message(60))["seq"])
            return got
