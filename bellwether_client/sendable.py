"""What the server would refuse without naming the request, or close for, is refused here."""

from typing import Any

from bellwether_client.codec import Codec
from bellwether_client.cursor import Cursor
from bellwether_client.errors import NotificationError
from bellwether_client.topics import pattern_problem

DEFAULT_FRAME_BYTES = 65_536

MAX_LEVELS = 16
"""Levels of objects and lists in a frame, which is the first."""

MAX_KEYS = 256
"""Keys of one object."""


class Sendable:
    """Encodes what the application gives, once it is sure that the server can read it."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._frame_bytes = DEFAULT_FRAME_BYTES

    def limit(self, frame_bytes: int | None) -> None:
        """Take the largest frame that the server takes, in bytes."""
        self._frame_bytes = frame_bytes or DEFAULT_FRAME_BYTES

    def encode(self, frame: dict[str, Any]) -> str | bytes:
        """Write a frame; raises NotificationError with BAD_FRAME or PAYLOAD_TOO_LARGE."""
        _check_structure(frame)
        try:
            data = self._codec.encode(frame)
        except (TypeError, ValueError) as error:
            raise NotificationError("BAD_FRAME", f"Send what JSON can hold: {error}") from error
        # A server closes for good on a larger one.
        if len(data if isinstance(data, bytes) else data.encode()) > self._frame_bytes:
            text = "Send a smaller payload, or a link to it."
            raise NotificationError("PAYLOAD_TOO_LARGE", text)
        return data

    def options(self, topic: str, options: dict[str, Any]) -> dict[str, Any]:
        """Copy the options of a subscription as the server gets them, so that what changes later
        changes nothing; raises NotificationError with BAD_TOPIC or BAD_FRAME."""
        problem = pattern_problem(topic)
        if problem is not None:
            raise NotificationError("BAD_TOPIC", problem)
        frame = {"type": "subscribe", "id": 0, "topic": topic, "options": options}
        try:
            data = self.encode(frame)
        except NotificationError as error:
            if error.code == "PAYLOAD_TOO_LARGE":
                raise NotificationError("BAD_FRAME", "The options are too large.") from error
            raise
        copy: dict[str, Any] = self._codec.decode(data)["options"]
        return copy

    def place(self, cursor: Cursor, max_age: int | None) -> Cursor:
        """Copy where a replay shall begin, once it is sure that it can be asked for; raises
        NotificationError with BAD_FRAME."""
        self.options("cursor", {"cursor": cursor.to_wire(), "maxReplayAge": max_age})
        return Cursor(cursor.epoch, dict(cursor.offsets))


def _check_structure(frame: dict[str, Any]) -> None:
    level: list[Any] = [frame]
    for depth in range(MAX_LEVELS + 1):
        level = [value for value in level if isinstance(value, dict | list | tuple)]
        if level and depth == MAX_LEVELS:
            text = f"A frame has at most {MAX_LEVELS} levels, a payload one less."
            raise NotificationError("BAD_FRAME", text)
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict) and len(value) > MAX_KEYS:
                raise NotificationError("BAD_FRAME", f"An object has at most {MAX_KEYS} keys.")
            inside.extend(value.values() if isinstance(value, dict) else value)
        level = inside
