"""Other people's servers, measured beside ours: what each is, and what it needs to be there."""

from collections.abc import Callable, Mapping
from typing import Final

from bench.peers.bare import Floor, Picows
from bench.peers.nats import Nats
from bench.peers.nchan import Nchan
from bench.peers.peer import Peer
from bench.peers.socketio import SocketIo

PEERS: Final[Mapping[str, Callable[[str], Peer]]] = {
    "nats": Nats,
    "nchan": Nchan,
    "socketio": SocketIo,
    "picows": Picows,
    "floor": Floor,
}
