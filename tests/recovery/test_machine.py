"""A state machine drives hub, replay, connections and sessions against a model of them.

Two servers, two clients, one log; a bus that loses, repeats and reorders, a database that is slow,
sockets that die, servers that die, time that passes, purges that end in their middle. Whatever the
order: each client gets what it is owed, once, in order, or is told the truth.
"""

from functools import partial
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from notifications.topics.partitions import partitions_of
from tests.recovery.machine.choices import HOWS, How, how_to_resume
from tests.recovery.machine.client import ClientState
from tests.recovery.machine.model import PARTITIONS, PATTERNS, TOPICS, empty_log, fits
from tests.recovery.machine.servers import Server
from tests.recovery.machine.surroundings import Surroundings, index, turns, which
from tests.recovery.machine.world import World

pytestmark = pytest.mark.django_db(transaction=True)


class Machine(Surroundings):
    """One example: a fresh log, two servers, two clients."""

    token = ""
    examples = 0

    def __init__(self) -> None:
        super().__init__()
        Machine.examples += 1
        self.log = empty_log(f"x{Machine.examples}")
        self.world = World()
        self.servers = [Server.begin(self.world), Server.begin(self.world)]
        self.clients = [ClientState("one", self.log), ClientState("two", self.log)]

    @initialize(wanted=st.lists(st.sampled_from(PATTERNS), min_size=2, max_size=6, unique=True))
    def connect_both(self, wanted: list[str]) -> None:
        for number, client in enumerate(self.clients):
            self._connect(client, self.servers[number], "fresh", 0)
            for pattern in wanted[number::2]:
                self.world.call(partial(client.subscribe, pattern, since=None))

    # --- Clients --------------------------------------------------------------------------------

    @rule(
        client=which,
        server=which,
        how=st.sampled_from(HOWS),
        index=index,
        turns=turns,
    )
    def connect(self, client: int, server: int, how: How, index: int, turns: int | None) -> None:
        """Connect anew; where a connection is open, it is taken over."""
        state = self.clients[client]
        if state.line is not None and state.line.socket.is_open:
            self.world.rest()  # what it asked for before has taken effect
        self._connect(state, self.servers[server], how, index, turns=turns)

    def _connect(
        self,
        client: ClientState,
        server: Server,
        how: How,
        index: int,
        *,
        turns: int | None = None,
    ) -> None:
        others = [one.session for one in self.clients if one is not client]
        resume, secret = how_to_resume(client, how, index, others)
        garbage = how == "garbage"
        self.world.call(
            lambda: client.connect(
                server, self.token, resume=resume, garbage=garbage, secret=secret
            ),
            turns=turns,
        )

    connect_again = connect

    @rule(client=which, turns=turns)
    def drop(self, client: int, turns: int | None) -> None:
        self.world.call(self.clients[client].drop, turns=turns)

    @rule(
        client=which,
        pattern=st.sampled_from(PATTERNS),
        since=st.sampled_from((None, None, None, "start", "past", "last")),
        index=index,
        turns=turns,
    )
    def subscribe(
        self, client: int, pattern: str, since: str | None, index: int, turns: int | None
    ) -> None:
        state = self.clients[client]
        if not self._is_served(state) or pattern in state.held:
            return
        asked: Any = None
        if since == "start" or (since == "past" and not state.past):
            asked = {"epoch": self.log.epoch, "offsets": {}}
        elif since == "past":
            asked = state.past[-(index + 1) % len(state.past)]
        elif since == "last":
            asked = {"last": index + 1}
        if asked is not None and state.line is not None and state.line.asked is not None:
            return
        self.world.call(lambda: state.subscribe(pattern, since=asked), turns=turns)

    @rule(client=which, index=index, count=st.integers(1, 3), relayed=st.booleans())
    def publish_while_subscribing(self, client: int, index: int, count: int, relayed: bool) -> None:
        """Publish what a subscription wants between its being asked for and its being there, in a
        partition that was none of the connection's business before."""
        state = self.clients[client]
        concerned = {at for held in state.held for at in partitions_of(held, PARTITIONS)}
        fresh = [one for one in PATTERNS if not concerned & {*partitions_of(one, PARTITIONS)}]
        if not fresh or not self._is_served(state):
            return
        self.world.rest()
        if state.line is None or not state.line.socket.is_open:
            return
        pattern = fresh[index % len(fresh)]
        server = state.line.socket.server
        self.world.database.mode = "late"
        self.world.call(lambda: state.subscribe(pattern, since=None))
        while self.world.database.waiting and not server.feeds:
            self.world.call(lambda: self.world.database.release(0))
        topics = [topic for topic in TOPICS if fits(pattern, topic)][:count]
        records = self.log.publish(topics, lifetime=0, keyed=False)
        if relayed:
            self.world.call(lambda: server.hub.relay(records))
        self.world.rest()

    @rule(client=which, index=index, turns=turns)
    def unsubscribe(self, client: int, index: int, turns: int | None) -> None:
        state = self.clients[client]
        known = sorted(pattern for pattern, held in state.held.items() if held.known)
        if self._is_served(state) and known:
            pattern = known[index % len(known)]
            self.world.call(lambda: state.unsubscribe(pattern), turns=turns)

    @rule(client=which, turns=turns)
    def ping(self, client: int, turns: int | None) -> None:
        state = self.clients[client]
        if self._is_served(state):
            self.world.call(state.ping, turns=turns)

    @staticmethod
    def _is_served(client: ClientState) -> bool:
        line = client.line
        return line is not None and line.ready and line.socket.is_open

    # --- What must hold -------------------------------------------------------------------------

    @rule()
    def come_to_rest(self) -> None:
        """When all has arrived and been looked for, nobody lacks anything."""
        self.world.rest()
        for server in self.servers:
            self.world.call(server.look)
            self.world.call(server.close_ended)
        for client in self.clients:
            for line in client.old_lines:
                # Of connections in a quick row, the rows remember the last takeover only: what
                # the bus then loses of those before is not found.
                if line.successor is client.newest and line.successor and line.successor.ready:
                    assert line.socket.closed == 4504, "the older connection was not closed"
                else:
                    self.world.call(line.socket.drop)
            client.old_lines.clear()
            if self._is_served(client):
                self.world.call(client.ping)
                assert client.line is not None
                assert not client.line.replaying
                assert not client.line.waiting
                assert client.line.asked is None
                client.check_all_there(self.log.heads(), "at rest")

    def teardown(self) -> None:
        """End the example as a quiet day would: everybody comes back, nobody lacks anything."""
        try:
            if not self.world.failures:
                self._end()
        finally:
            self.world.close()

    def _end(self) -> None:
        self.come_to_rest()
        for client in self.clients:
            if not self._is_served(client):
                self._connect(client, self.servers[0], "resume", 0)
        self.come_to_rest()
        for client in self.clients:
            assert self._is_served(client), f"{client.name} does not get back"


def drive(token: str, examples: int, steps: int, *, same_every_time: bool) -> None:
    """Run the machine."""
    if connection.vendor == "postgresql":
        pytest.skip("the still world is SQLite's: one thread, one connection, the same every time")
    Machine.token = token
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=same_every_time,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            print_blob=True,
        ),
    )


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_everybody_gets_what_is_owed_or_is_told(token: str) -> None:
    drive(token, 200, 50, same_every_time=True)


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_everybody_gets_what_is_owed_or_is_told_at_length(token: str) -> None:
    drive(token, 2_000, 100, same_every_time=False)
