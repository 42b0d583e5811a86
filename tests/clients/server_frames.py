"""The server's frames as a scenario writes them, completed by what every server sends."""

from collections.abc import Callable
from typing import Any, Final

Frame = dict[str, Any]

NOW: Final = "2030-01-01T00:00:00.000Z"
START: Final = {"epoch": "e1", "offsets": {"0": 0, "1": 0}}


def complete(frame: Frame) -> Frame:
    """Add what a scenario left out; what it says stays as it is."""
    rest = _REST.get(frame["type"])
    return {**rest(frame), **frame} if rest else frame


def _auth_success(_: Frame) -> Frame:
    return {
        "sessionId": "session 1",
        "serverId": "server",
        "capabilities": ["batch"],
        "resumed": False,
        "subscriptions": [],
        "cursor": START,
        "heartbeat": {"interval": 30_000, "timeout": 5_000},
        "retry": {
            "maxRetries": 0,
            "initialDelay": 20,
            "maxDelay": 1_000,
            "backoffMultiplier": 2,
            "jitter": False,
            "strategy": "exponential",
        },
        "limits": {
            "frameBytes": 65_536,
            "payloadBytes": 49_152,
            "subscriptions": 100,
            "patterns": 16,
            "framesPerSecond": 20,
            "publishesPerSecond": 50,
            "replayMessages": 10_000,
        },
        "serverTime": NOW,
    }


def _message(frame: Frame) -> Frame:
    partition, offset = frame["position"]
    return {
        "id": f"m{partition}-{offset}",
        "topic": "a.b",
        "payload": offset,
        "timestamp": NOW,
        "seq": offset,
    }


_REST: Final[dict[str, Callable[[Frame], Frame]]] = {
    "auth_success": _auth_success,
    "message": _message,
    "subscribed": lambda _: {"topic": "a.b", "createdAt": NOW, "cursor": START},
    "published": lambda _: {"messageId": "p", "topic": "a.b", "timestamp": NOW, "seq": 1},
    "replay_complete": lambda _: {"recovered": True, "count": 0, "cursor": START},
    "pong": lambda _: {"cursor": {"epoch": "e1", "offsets": {}}, "serverTime": NOW},
    "error": lambda frame: {"message": f"{frame['code']}, said the server", "temporary": False},
    "disconnect": lambda _: {"reason": "as the scenario says"},
    "verified": lambda _: {"inactive": []},
}
