"""What is chance in a client's frames, made equal: ids, keys and times by order of appearance."""

from typing import Any

Frame = dict[str, Any]

TOKEN = "token"
"""The token of a client that a scenario gives none; it is left out of the trace."""


class Normal:
    """Numbers what one client makes up; `#1` is a connection's first request id.

    given: the idempotency keys that the scenario itself names, which stay as they are.
    """

    def __init__(self, given: frozenset[str] = frozenset()) -> None:
        self._ids: list[Any] = []
        self._keys: list[str] = []
        self._given = given

    def connected(self) -> None:
        """Count request ids anew: they mean something within their connection only."""
        self._ids.clear()

    def frame(self, frame: Frame) -> Frame:
        """Return a client's frame as it stands in a trace."""
        normal = dict(frame)
        if normal["type"] == "auth":
            return _auth(normal)
        if normal["type"] == "ping":
            return {"type": "ping"}
        if normal["type"] == "verify":
            normal["subscriptionIds"] = sorted(normal["subscriptionIds"])
        if "id" in normal:
            normal["id"] = f"#{_number(self._ids, normal['id'])}"
        key = normal.get("idempotencyKey")
        if key is not None and key not in self._given:
            normal["idempotencyKey"] = f"key {_number(self._keys, key)}"
        return normal

    def actual(self, value: Any) -> Any:
        """Put the client's own ids into what a scenario has the server send."""
        if isinstance(value, dict):
            return {name: self.actual(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.actual(inner) for inner in value]
        if isinstance(value, str) and value.startswith("#"):
            return self._ids[int(value[1:]) - 1]
        return value


def _number(known: list[Any], value: Any) -> int:
    if value not in known:
        known.append(value)
    return known.index(value) + 1


def _auth(frame: Frame) -> Frame:
    """Leave out who the client is, and what says nothing."""
    for name in ("clientId", "client", "capabilities", "id"):
        frame.pop(name, None)
    if frame["token"] == TOKEN:
        del frame["token"]
    if frame.get("attempt") == 0:
        del frame["attempt"]
    return frame
