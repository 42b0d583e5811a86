"""What the machine found, each as small as it could be made."""

import pytest

from tests.recovery.machine.client import ClientState
from tests.recovery.machine.model import empty_log
from tests.recovery.machine.servers import Server
from tests.recovery.machine.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_older_socket_is_closed_also_when_the_newest_one_has_gone(token: str) -> None:
    """A socket was taken over by one on another server, and the bus lost that. That one dies, and
    the client comes back to the first server, where the first socket is still open."""
    log = empty_log("x1")
    world = World()
    servers = [Server.begin(world), Server.begin(world)]
    client = ClientState("one", log)

    def resume(server: Server) -> None:
        cursor = client.cursor.on_the_wire()
        world.call(lambda: client.connect(server, token, resume=cursor, garbage=False))

    try:
        world.call(lambda: client.connect(servers[0], token, resume=None, garbage=False))
        servers[0].set_bus("lost")
        resume(servers[1])
        (forgotten,) = client.old_lines
        assert forgotten.socket.is_open
        world.call(client.drop)
        resume(servers[0])
        assert forgotten.socket.closed == 4504
    finally:
        world.close()
