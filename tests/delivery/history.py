"""The record of a fault run, one JSON line an event: what publishers, clients and faults did.

The events carry no judgement; tests/delivery/checker.py judges, and from these events alone.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import msgspec

Offsets = dict[int, int]
"""Partition → offset: a cursor without its epoch. A partition that is not named counts as 0."""

Position = tuple[int, int]
"""(partition, offset)."""


class _Event(msgspec.Struct, kw_only=True, tag_field="event", omit_defaults=True):
    """at: seconds on the recorder's monotonic clock; the history sets it."""

    at: float = 0.0


# --- Publishing -----------------------------------------------------------------------------------


class Planned(_Event, tag="planned"):
    """A publish was due at `due`, whether or not the publisher came to it then."""

    publisher: str
    key: str
    due: float


class Invoked(_Event, tag="invoked"):
    """An attempt to publish is about to be sent; a retry has the key of the first attempt."""

    publisher: str
    key: str
    topic: str


class Acknowledged(_Event, tag="acknowledged"):
    """An attempt was answered 2xx, or with `published`."""

    publisher: str
    key: str
    topic: str
    id: str
    seq: int
    position: Position


class Failed(_Event, tag="failed"):
    """An attempt was refused for good (a 4xx): it must not be in the log."""

    publisher: str
    key: str
    reason: str


class Unknown(_Event, tag="unknown"):
    """An attempt's outcome is unknown (a broken connection, a 5xx): it may be in the log."""

    publisher: str
    key: str
    reason: str


class Stopped(_Event, tag="stopped"):
    """Nothing more is planned to be published."""


class Logged(_Event, tag="logged"):
    """A row of the log, as the auditor found it after the run. key: out of its payload."""

    id: str
    topic: str
    seq: int
    position: Position
    key: str


# --- Subscribing ----------------------------------------------------------------------------------


class Granted(_Event, tag="granted"):
    """From now on a client may receive what these patterns cover, and nothing else."""

    client: str
    patterns: list[str]


class Connecting(_Event, tag="connecting"):
    """A client begins to connect: it is no longer away of its own will."""

    client: str
    connection: int


class Connected(_Event, tag="connected"):
    """A client was authenticated. resumed: what the server said of its earlier session."""

    client: str
    connection: int
    server: str
    resumed: bool = False


class Disconnected(_Event, tag="disconnected"):
    """A connection that was authenticated ended. on_purpose: by the client's own will."""

    client: str
    connection: int
    server: str
    on_purpose: bool = False
    reason: str = ""


class Subscribed(_Event, tag="subscribed"):
    """A subscription is in force. begin: its cursor, None where the client was not told it."""

    client: str
    pattern: str
    begin: Offsets | None = None


class Unsubscribed(_Event, tag="unsubscribed"):
    """A subscription ended; nothing that only it matched may follow."""

    client: str
    pattern: str


class Received(_Event, tag="received"):
    """A message came over a connection."""

    client: str
    connection: int
    id: str
    topic: str
    seq: int
    position: Position
    replayed: bool = False


class Handled(_Event, tag="handled"):
    """A client's handler was given a message: its cursor did not cover it."""

    client: str
    id: str
    topic: str
    seq: int
    position: Position


class Moved(_Event, tag="moved"):
    """A client's cursor was merged with one that the server gave (auth_success, pong)."""

    client: str
    cursor: Offsets


class Recovered(_Event, tag="recovered"):
    """The server said how a recovery ended.

    since: the client's cursor when it asked. cursor: what the server gave; when recovered is
    false, live messages follow from there.
    """

    client: str
    recovered: bool
    since: Offsets
    cursor: Offsets
    reason: str = ""


class Gap(_Event, tag="gap"):
    """The server said that messages may be missing before this cursor."""

    client: str
    cursor: Offsets
    reason: str = ""


# --- Faults ---------------------------------------------------------------------------------------


class FaultOn(_Event, tag="fault_on"):
    """A fault begins. needs: what must be seen for it to count as one that bit."""

    fault: str
    needs: list[str]


class Evidence(_Event, tag="evidence"):
    """Something was seen that only the fault explains."""

    fault: str
    what: str


class FaultOff(_Event, tag="fault_off"):
    """A fault is healed."""

    fault: str


Event = (
    Planned
    | Invoked
    | Acknowledged
    | Failed
    | Unknown
    | Stopped
    | Logged
    | Granted
    | Connecting
    | Connected
    | Disconnected
    | Subscribed
    | Unsubscribed
    | Received
    | Handled
    | Moved
    | Recovered
    | Gap
    | FaultOn
    | Evidence
    | FaultOff
)


class History:
    """A file of events that any thread may write to; their order in it is the order of `at`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._lock = Lock()
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, *events: Event) -> None:
        """Write events, with the time and in the order of this call."""
        with self._lock:
            for event in events:
                event.at = time.monotonic()
                self._file.write(self._encoder.encode(event) + b"\n")

    def close(self) -> None:
        """Write what is buffered and close the file."""
        with self._lock:
            self._file.close()


def read_history(path: Path) -> Sequence[Event]:
    """Read the events of a file, in their order."""
    decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
    return decoder.decode_lines(path.read_bytes())
