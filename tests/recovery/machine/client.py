"""A client that keeps the contract, and judges by it what a server sends.

It knows what was published (LogModel) and what it was told. Its cursor is the one of the fault
runs, which shares no code with the server.
"""

from tests.delivery.cursors import ClientCursor, offsets_of
from tests.recovery.machine.model import LogModel, Offsets, Position, fits
from tests.recovery.machine.notes import ANYWHERE, NOWHERE, Asked, Held, Line
from tests.recovery.machine.servers import Frame, Server, Socket
from tests.recovery.machine.world import World


class ClientState:
    """What a client keeps from connection to connection."""

    def __init__(self, name: str, log: LogModel) -> None:
        self.name = name
        self.log = log
        self.cursor = ClientCursor()
        self.past: list[Frame] = []
        """The cursors that it had."""
        self.session = ""
        self.session_is_sure = False
        self.held: dict[str, Held] = {}
        self.handled: set[Position] = set()
        self.forgiven: set[Position] = set()
        self.line: Line | None = None
        self.newest: Line | None = None
        self.old_lines: list[Line] = []
        self._requests = 0

    # --- What is owed ---------------------------------------------------------------------------

    def check_all_there(self, upto: Offsets, why: str) -> None:
        """Fail unless everything up to a place was handled, or the client told of a loss."""
        missing = [
            message
            for message in self.log.messages
            if message.offset <= upto.get(message.partition, 0)
            and not message.has_expired
            and message.position not in self.handled
            and message.position not in self.forgiven
            and any(held.owes(message) for held in self.held.values())
        ]
        assert not missing, f"{self.name} lacks {missing} {why}"

    def _forgive(self, upto: Offsets) -> None:
        self.forgiven.update(
            message.position
            for message in self.log.messages
            if message.offset <= upto.get(message.partition, 0)
            and message.position not in self.handled
        )

    def _has_lost(self, after: Offsets) -> bool:
        """Tell whether something that may have been wanted after a place was purged."""
        return any(
            self.log.is_lost(message)
            and message.offset > after.get(message.partition, 0)
            and any(held.may_bring(message) for held in self.held.values())
            for message in self.log.messages
        )

    # --- Connecting -----------------------------------------------------------------------------

    def connect(
        self,
        server: Server,
        token: str,
        *,
        resume: Frame | None = None,
        garbage: bool = False,
        secret: str = "",
    ) -> None:
        """Open a socket; resume: the cursor to go on from. secret: one of somebody else."""
        self._requests += 1
        line = Line(self._requests, resume, garbage, self.log.known_purges())
        if self.line is not None:
            self.line.successor = line
            self.old_lines.append(self.line)
            self._lose_replies(self.line)
        self.line = self.newest = line
        frame: Frame = {"type": "auth", "token": token, "clientId": self.name}
        if resume is not None and self.session:
            frame["resume"] = {"sessionId": self.session, "cursor": resume}
            if not garbage:
                self.cursor.set(resume)
                if resume in self.past:  # what it had later it has not had any more
                    del self.past[self.past.index(resume) + 1 :]
                self.handled = {one for one in self.handled if self.cursor.covers(one)}
                self.forgiven = {one for one in self.forgiven if self.cursor.covers(one)}
        else:
            line.resume = None
            self.session_is_sure = False  # when this takes effect, the old one has ended
            if secret:
                frame["resume"] = {"sessionId": secret, "cursor": self.cursor.on_the_wire()}
        line.socket = Socket(server, lambda frame: self._take(line, frame))
        line.socket.send(frame)

    def drop(self) -> None:
        """Lose the connection."""
        if self.line is not None:
            self.line.socket.drop()
            self._lose_replies(self.line)
            self.line = None

    def _lose_replies(self, line: Line) -> None:
        line.waiting.clear()  # subscriptions whose reply is lost stay unknown
        line.asked = None

    # --- Requests -------------------------------------------------------------------------------

    def subscribe(self, pattern: str, *, since: Frame | None) -> None:
        """Ask for a subscription; since: where its replay is to begin."""
        line = self.line
        assert line is not None
        self._requests += 1
        frame: Frame = {"type": "subscribe", "id": self._requests, "topic": pattern}
        line.waiting[self._requests] = ("subscribe", pattern)
        self.held[pattern] = Held(pattern, NOWHERE, ANYWHERE, known=False)
        if since is not None:
            frame["options"] = {"since": since}
            line.asked = Asked(pattern, since, self.log.purges, World.current.now_ms)
        line.socket.send(frame)

    def unsubscribe(self, pattern: str) -> None:
        """Ask for its end."""
        line, held = self.line, self.held[pattern]
        assert line is not None
        self._requests += 1
        line.waiting[self._requests] = ("unsubscribe", pattern)
        held.known, held.before, held.owed = False, held.owed, NOWHERE
        line.socket.send({"type": "unsubscribe", "id": self._requests, "subscriptionId": held.id})

    def ping(self) -> None:
        """Ask how far the server is."""
        assert self.line is not None
        self.line.socket.send({"type": "ping"})

    # --- Frames ---------------------------------------------------------------------------------

    def _take(self, line: Line, frame: Frame) -> None:
        if frame["type"] == "message":
            self._message(line, frame)
        elif line is self.line:
            handle = getattr(self, f"_on_{frame['type']}")
            handle(line, frame)
            self._remember()

    def _remember(self) -> None:
        if self.cursor.epoch and [now := self.cursor.on_the_wire()] != self.past[-1:]:
            self.past.append(now)

    def _on_auth_success(self, line: Line, frame: Frame) -> None:
        line.ready = True
        wanted_back = line.resume is not None
        if wanted_back and self.session_is_sure:
            assert frame["resumed"], f"{self.name}'s session was not resumed"
        assert wanted_back or not frame["resumed"], "a session was resumed without its secret"
        self.session, self.session_is_sure = frame["sessionId"], True
        listed = {one["topic"]: one["subscriptionId"] for one in frame["subscriptions"]}
        for pattern, held in list(self.held.items()):
            if held.known:
                assert listed.get(pattern) == held.id, f"{pattern} is not held any more"
            elif pattern not in listed:
                del self.held[pattern]
        for pattern, subscription_id in listed.items():
            held = self.held[pattern]
            if not held.known:
                held.known, held.id = True, subscription_id
                held.owed = held.before or self.log.heads()
                held.before = None
        if frame["resumed"]:
            line.replaying = True
            return
        self.cursor.set(frame["cursor"])
        self._forgive(offsets_of(frame["cursor"]))
        line.settled = offsets_of(frame["cursor"])

    def _message(self, line: Line, frame: Frame) -> None:
        position: Position = (frame["position"][0], frame["position"][1])
        partition, offset = position
        message = self.log.by_position.get(position)
        assert message is not None, f"{frame} was never published"
        assert (message.id, message.topic, message.seq, message.payload) == (
            frame["id"],
            frame["topic"],
            frame["seq"],
            frame["payload"],
        )
        assert not message.has_expired, f"{message} has expired"
        is_replayed = frame.get("replayed", False)
        asked = line.asked
        if asked is not None and asked.place is not None:
            assert is_replayed, "live messages were not held back"
            assert fits(asked.pattern, message.topic)
            assert offset <= asked.place[partition], "a replay went past its place"
            assert position not in asked.got, f"{message} was replayed twice"
            asked.got.append(position)
        else:
            assert is_replayed == line.replaying, f"{message} is of the wrong kind"
            assert offset > line.sent.get(partition, 0), f"{message} came twice, or too late"
            assert offset > line.settled.get(partition, 0), f"{message} came after its pong"
            line.sent[partition] = offset
        if line is not self.line:
            return
        assert any(held.may_bring(message) for held in self.held.values()), (
            f"nobody wants {message}"
        )
        is_asked = asked is not None and asked.place is not None
        if not is_asked and self.cursor.covers(position):
            return
        assert is_asked or position not in self.handled, f"{message} was handled twice"
        self.handled.add(position)
        self.cursor.handled(position)
        self._remember()

    def _on_pong(self, line: Line, frame: Frame) -> None:
        cursor = offsets_of(frame["cursor"])
        self.check_all_there(cursor, "before a pong")
        self.cursor.merge(frame["cursor"])
        assert all(offset >= line.settled.get(at, 0) for at, offset in cursor.items())
        line.settled |= cursor

    def _on_gap(self, line: Line, frame: Frame) -> None:
        assert self._has_lost({}), "nothing was purged, yet a gap was told"
        self._forgive(offsets_of(frame["cursor"]))
        self.cursor.set(frame["cursor"])

    def _on_replay_complete(self, line: Line, frame: Frame) -> None:
        cursor = offsets_of(frame["cursor"])
        if line.replaying:
            line.replaying = False
            self._resumed(line, frame, cursor)
            line.settled = cursor
            self.cursor.merge(frame["cursor"])
        else:
            assert line.asked is not None
            self._answered(line.asked, frame, cursor)
            line.asked = None

    def _resumed(self, line: Line, frame: Frame, cursor: Offsets) -> None:
        assert line.resume is not None
        if frame["recovered"]:
            assert not line.is_garbage
            self.check_all_there(cursor, "although it was told recovered: true")
            return
        if line.is_garbage:
            assert frame["reason"] in ("BAD_CURSOR", "EPOCH_CHANGED")
        else:
            assert frame["reason"] == "BEYOND_RETENTION", frame
            assert self._has_lost(offsets_of(line.resume)), "nothing that it wants was purged"
        assert frame["count"] == 0
        self._forgive(cursor)

    def _answered(self, asked: Asked, frame: Frame, cursor: Offsets) -> None:
        assert cursor == asked.place
        held = self.held.get(asked.pattern)
        if not frame["recovered"]:
            assert not asked.got
            assert frame["reason"] == "BEYOND_RETENTION" or "epoch" in asked.since, frame
            return
        assert frame["count"] == len(asked.got)
        if held is None or not held.known:
            return  # unsubscribed meanwhile: then nothing more of it is sent
        if (expected := asked.expected(self.log, cursor)) is None:
            return
        begin, wanted, possible = expected
        got = set(asked.got)
        missing = [message for message in wanted if message.position not in got]
        assert not missing, f"{self.name} asked for {asked.since} and lacks {missing}"
        unasked = [one for one in got if one not in possible]
        assert not unasked, f"{unasked} came, which {asked.since} does not ask for"
        held.owed = begin

    def _on_subscribed(self, line: Line, frame: Frame) -> None:
        assert line.waiting.pop(frame["id"]) == ("subscribe", frame["topic"])
        held = self.held[frame["topic"]]
        held.known, held.id = True, frame["subscriptionId"]
        held.owed = offsets_of(frame["cursor"])
        if line.asked is not None and line.asked.pattern == held.pattern:
            line.asked.place = held.owed
        else:
            held.possible = held.owed

    def _on_unsubscribed(self, line: Line, frame: Frame) -> None:
        _, pattern = line.waiting.pop(frame["id"])
        assert self.held.pop(pattern).id == frame["subscriptionId"]

    def _on_error(self, line: Line, frame: Frame) -> None:
        kind, pattern = line.waiting.pop(frame["id"])
        assert (kind, frame["code"]) == ("subscribe", "RATE_LIMITED"), frame
        del self.held[pattern]
        line.asked = None

    def _on_disconnect(self, line: Line, frame: Frame) -> None:
        # Only what was purged under a connection can be a reason to close the newest one.
        assert frame["code"] == 4410, frame
        assert self.log.purges > line.purges, "a connection lost its place, yet nothing was purged"
