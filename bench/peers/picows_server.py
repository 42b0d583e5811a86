"""The picows peer: a bare broadcast server in Python. usage: picows_server.py PORT PUBLISH_PORT

It stands alone: it is run with picows and uvloop on its path, and imports nothing of this project.
"""

import asyncio
import sys
from typing import Any

import uvloop
from picows import (  # type: ignore[import-not-found]  # it is not in the environment
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_create_server,
)

_everyone: set[WSTransport] = set()


class Subscriber(WSListener):  # type: ignore[misc]  # untyped base
    """One connection; it says nothing."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Count it in."""
        _everyone.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer pings and closes."""
        if frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Count it out."""
        _everyone.discard(transport)


async def broadcast(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send to everyone what comes: 32 bits of length, the largest byte first, then a message."""
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            message = await reader.readexactly(size)
            for transport in list(_everyone):
                transport.send(WSMsgType.TEXT, message)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int, publish_port: int) -> None:
    """Serve until the process is ended."""
    listener: Any = Subscriber
    await asyncio.start_server(broadcast, "127.0.0.1", publish_port)
    server = await ws_create_server(
        lambda request: listener(), "127.0.0.1", port, backlog=4096, enable_auto_ping=False
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
