"""What a subscriber of a fault run knows and notes: session, subscriptions, cursor. No sockets.

Written against docs/protocol.md alone, so that a mistake of our own client does not hide one of
the server's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.delivery.cursors import ClientCursor, offsets_of
from tests.delivery.history import (
    Connected,
    Gap,
    Granted,
    Handled,
    History,
    Moved,
    Position,
    Received,
    Recovered,
    Subscribed,
)

Frame = dict[str, Any]


@dataclass
class Line:
    """One connection. since: the cursor that it resumed with, until that is settled."""

    number: int
    server: str
    since: Frame | None = None
    is_ready: bool = False
    """All subscriptions are in force and nothing is being recovered."""
    leaving: bool = False


class SubscriberState:
    """What one client keeps from connection to connection.

    deduplicates: whether its handler is spared what its cursor covers.
    """

    def __init__(
        self,
        name: str,
        history: History,
        *,
        patterns: Sequence[str],
        grants: Sequence[str],
        deduplicates: bool = True,
    ) -> None:
        self.name = name
        self.patterns = tuple(patterns)
        self.cursor = ClientCursor()
        self.session_id = ""
        self._history = history
        self._deduplicates = deduplicates
        self._held: set[str] = set()
        history.record(Granted(client=name, patterns=list(grants)))

    # --- Authentication -----------------------------------------------------------------------

    def auth(self, line: Line, token: str) -> Frame:
        """Return the first frame of a connection."""
        frame: Frame = {"type": "auth", "token": token, "clientId": self.name}
        if self.session_id:
            line.since = self.cursor.on_the_wire()
            frame["resume"] = {"sessionId": self.session_id, "cursor": line.since}
        return frame

    def authenticated(self, line: Line, answer: Frame) -> list[Frame]:
        """Take `auth_success`; return the requests for subscriptions that are not held."""
        self.session_id = answer["sessionId"]
        self._history.record(
            Connected(
                client=self.name,
                connection=line.number,
                server=line.server,
                resumed=answer["resumed"],
            )
        )
        for one in answer["subscriptions"]:
            if one["topic"] not in self._held:
                self._holds(one["topic"], None)  # the reply that would have said so was lost
        if not answer["resumed"]:
            if line.since is not None:
                self._recovered(line, answer["cursor"], recovered=False, reason="not resumed")
            else:
                self._moved(answer["cursor"])
        self._check_ready(line)
        return [
            {"type": "subscribe", "id": pattern, "topic": pattern}
            for pattern in self.patterns
            if pattern not in self._held
        ]

    # --- Frames -------------------------------------------------------------------------------

    def take(self, line: Line, frame: Frame) -> None:
        """Take a frame that came after `auth_success`."""
        match frame["type"]:
            case "message":
                self._message(line, frame)
            case "pong":
                self._moved(frame["cursor"])
            case "replay_complete" if line.since is not None:
                self._recovered(
                    line,
                    frame["cursor"],
                    recovered=frame["recovered"],
                    reason=frame.get("reason", ""),
                )
            case "subscribed":
                self._holds(frame["topic"], frame["cursor"])
            case "gap":
                self.cursor.set(frame["cursor"])
                self._history.record(
                    Gap(
                        client=self.name,
                        cursor=offsets_of(frame["cursor"]),
                        reason=frame["reason"],
                    )
                )
            case "error":
                self._refused(frame)
        self._check_ready(line)

    def _message(self, line: Line, frame: Frame) -> None:
        if "position" not in frame:
            return  # of an ephemeral topic, for which nothing of this is promised
        position: Position = (frame["position"][0], frame["position"][1])
        where: dict[str, Any] = {
            "client": self.name,
            "id": frame["id"],
            "topic": frame["topic"],
            "seq": frame["seq"],
            "position": position,
        }
        replayed = frame.get("replayed", False)
        self._history.record(Received(connection=line.number, replayed=replayed, **where))
        if self._deduplicates and self.cursor.covers(position):
            return
        self._history.record(Handled(**where))
        self.cursor.handled(position)

    def _moved(self, cursor: Frame) -> None:
        self.cursor.merge(cursor)
        if offsets := offsets_of(cursor):
            self._history.record(Moved(client=self.name, cursor=offsets))

    def _recovered(self, line: Line, cursor: Frame, *, recovered: bool, reason: str) -> None:
        assert line.since is not None
        self._history.record(
            Recovered(
                client=self.name,
                recovered=recovered,
                since=offsets_of(line.since),
                cursor=offsets_of(cursor),
                reason=reason,
            )
        )
        self.cursor.merge(cursor)
        line.since = None

    def _holds(self, pattern: str, begin: Frame | None) -> None:
        self._held.add(pattern)
        offsets = offsets_of(begin) if begin is not None else None
        self._history.record(Subscribed(client=self.name, pattern=pattern, begin=offsets))

    def _refused(self, frame: Frame) -> None:
        if frame["code"] == "ALREADY_SUBSCRIBED":
            self._holds(frame["id"], None)
        elif not frame["temporary"]:
            raise AssertionError(f"{self.name} was refused: {frame}")
        # A subscription that failed for now is asked for at the next connection.

    def _check_ready(self, line: Line) -> None:
        line.is_ready = line.since is None and self._held.issuperset(self.patterns)
