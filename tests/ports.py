"""Ports for the servers of tests, that no other test process takes meanwhile."""

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST, LAST = 18_000, 30_000
"""Below the ports that the kernel gives to outgoing connections."""

HELD = 100
"""Ports that a process keeps; the servers of older ones have ended."""

_held: list[IO[bytes]] = []


def free_port() -> int:
    """Return a port that nobody listens on, and that is this process's for a long while.

    A server needs seconds until it listens, and one that restarts leaves its port for a while: in
    between another test could start its own there, and each would take the other's for its own.
    """
    folder = Path(tempfile.gettempdir()) / "bellwether-test-ports"
    folder.mkdir(exist_ok=True)
    while True:
        port = random.randrange(FIRST, LAST)
        file = (folder / str(port)).open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            file.close()
            continue
        _held.append(file)
        if len(_held) > HELD:
            _held.pop(0).close()
        return port
