"""What the machine does to the log, to time, and to what lies between servers and clients."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.recovery.machine.client import ClientState
from tests.recovery.machine.model import LONG_AGO, TOPICS, LogModel
from tests.recovery.machine.servers import Server
from tests.recovery.machine.world import BusMode, DatabaseMode, Fate, World

which = st.integers(0, 1)
index = st.integers(0, 7)
turns = st.sampled_from((None, None, None, 0, 3, 10))
"""Turns of the loop after a step; None for as many as it takes until nothing goes on."""


class Surroundings(RuleBasedStateMachine):
    """The rules that no client has a part in."""

    log: LogModel
    world: World
    servers: list[Server]
    clients: list[ClientState]

    # --- The log --------------------------------------------------------------------------------

    @rule(
        topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=6),
        lifetime=st.sampled_from((0, 0, 0, 0, 1, 30, LONG_AGO)),
        keyed=st.booleans(),
        relayed_by=st.sampled_from((0, 1, None)),
        turns=turns,
    )
    def publish(
        self,
        topics: list[str],
        lifetime: int,
        keyed: bool,
        relayed_by: int | None,
        turns: int | None,
    ) -> None:
        records = self.log.publish(topics, lifetime=lifetime, keyed=keyed)
        if relayed_by is not None:
            self.world.call(lambda: self.servers[relayed_by].hub.relay(records), turns=turns)

    publish_again = publish
    publish_once_more = publish

    @precondition(lambda self: self.log.keyed)
    @rule(index=index)
    def retry(self, index: int) -> None:
        assert not self.log.retry(index)

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 4), dies=st.booleans())
    def purge(self, topic: str, count: int, dies: bool) -> None:
        self.log.purge(topic, count, dies=dies)

    @precondition(lambda self: self.log.rows_to_go)
    @rule()
    def sweep(self) -> None:
        self.log.sweep()

    # --- Time -----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((1, 40)))
    def wait(self, seconds: int) -> None:
        """Let time pass: partitions that nobody needs are left, groups are joined again."""
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from((1, 30)), swept=st.booleans())
    def expire(self, seconds: int, swept: bool) -> None:
        """Let messages expire, wherever they are."""
        self.world.now_ms += seconds * 1000
        if swept:
            self.log.sweep_expired()

    # --- What is between ------------------------------------------------------------------------

    @rule(server=which, mode=st.sampled_from(("through", "held", "lost")))
    def set_bus(self, server: int, mode: BusMode) -> None:
        self.servers[server].set_bus(mode)

    @precondition(lambda self: any(self.world.net.held.values()))
    @rule(
        server=which,
        index=index,
        fate=st.sampled_from(("delivered", "lost", "repeated")),
        turns=turns,
    )
    def settle_hint(self, server: int, index: int, fate: Fate, turns: int | None) -> None:
        self.world.call(lambda: self.servers[server].settle_hint(index, fate), turns=turns)

    @rule(mode=st.sampled_from(("now", "late", "slow")))
    def set_database(self, mode: DatabaseMode) -> None:
        self.world.database.mode = mode

    @precondition(lambda self: self.world.database.waiting)
    @rule(index=index, turns=turns)
    def release(self, index: int, turns: int | None) -> None:
        self.world.call(lambda: self.world.database.release(index), turns=turns)

    @rule(server=which, turns=turns)
    def look(self, server: int, turns: int | None) -> None:
        self.world.call(self.servers[server].look, turns=turns)

    @rule(server=which)
    def kill(self, server: int) -> None:
        """End a server without a word, and start another in its place."""
        dead = self.servers[server]
        for client in self.clients:
            if client.line is not None and client.line.socket.server is dead:
                client.drop()
            client.old_lines = [line for line in client.old_lines if line.socket.server is not dead]
        self.world.run(dead.kill())
        self.servers[server] = Server.begin(self.world)
