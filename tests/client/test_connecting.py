"""Connecting, losing and ending a connection."""

import asyncio
from datetime import timedelta

import pytest

from bellwether_client import (
    Connected,
    Connecting,
    ConnectionError,
    Disconnected,
    NotificationError,
    Reconnecting,
    RetryConfig,
)
from bellwether_client.transport import Refused, Unreachable, Unusable
from tests.client.virtual import virtual
from tests.client.world import World, deliver, settle, wait

NEVER = RetryConfig(max_retries=1, initial_delay=10, jitter=False)


@virtual
async def test_the_first_frame_says_who_connects() -> None:
    async with World(client_id="c", kind="mobile") as world:
        socket = await world.connected()
        assert socket.subprotocol == "notifications.v1.json"
        assert world.hello.pop("client").items() >= {"kind": "mobile"}.items()
        assert world.hello == {
            "type": "auth",
            "token": "token",
            "clientId": "c",
            "capabilities": ["batch"],
        }


@virtual
async def test_the_states_of_a_life() -> None:
    async with World() as world:
        socket = await world.connected()
        socket.shut(1006)
        await world.accept(resumed=True)
        await world.client.disconnect()
        connecting, connected, lost, again, back, over = world.states
        assert isinstance(connecting, Connecting)
        assert connecting.attempt == 0
        assert isinstance(connected, Connected)
        assert (connected.server_id, connected.latency >= 0) == ("fake", True)
        assert isinstance(lost, Reconnecting)
        assert (lost.attempt, lost.backoff_delay) == (1, 1)
        assert lost.next_retry_at - connected.connected_at < timedelta(seconds=1)
        assert isinstance(again, Connecting)
        assert again.attempt == 1
        assert isinstance(back, Connected)
        assert isinstance(over, Disconnected)
        assert (over.reason, over.last_connected_at) == ("client_initiated", back.connected_at)
        assert world.client.get_connection_state() is over
        assert world.hello["attempt"] == 1
        assert world.hello["lastDisconnectReason"] == "network_error"


@virtual
async def test_a_listener_that_fails_harms_nobody_and_one_can_be_removed() -> None:
    async with World() as world:

        def failing(state: object) -> None:
            raise ValueError

        told: list[object] = []
        remove_first = world.client.on_state_change(failing)
        remove = world.client.on_state_change(told.append)
        await world.connected()
        assert [state.status for state in told] == ["connecting", "connected"]  # type: ignore[attr-defined]
        remove()
        remove_first()
        await world.client.disconnect()
        assert len(told) == 2


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013, 4402, 4408, 4409, 4411, 4444])
@virtual
async def test_codes_after_which_it_comes_back(code: int) -> None:
    async with World() as world:
        socket = await world.connected()
        socket.shut(code)
        await world.accept(resumed=True)
        assert world.client.get_stats().reconnect_count == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1002, "protocol_error"),
        (1008, "protocol_error"),
        (4401, "authentication_failed"),  # the token is a string: there is no other
        (4500, "protocol_error"),
        (4501, "authentication_failed"),
        (4503, "server_initiated"),
        (4999, "server_initiated"),
    ],
)
@virtual
async def test_codes_after_which_it_stays_away(code: int, reason: str) -> None:
    async with World() as world:
        socket = await world.connected()
        publishing = asyncio.create_task(world.client.publish("a", 1))
        await settle()
        socket.shut(code)
        with pytest.raises(ConnectionError):
            await publishing
        (ended,) = world.told("connection_ended")
        assert (ended.error.reason, ended.error.close_code) == (reason, code)
        assert str(code) in str(ended.error)
        assert ended.error.hint
        connected, state = world.states[1], world.client.get_connection_state()
        assert isinstance(connected, Connected)
        assert state == Disconnected(
            reason=ended.error.reason, last_connected_at=connected.connected_at
        )
        await wait(3_600_000)
        assert world.network.attempts == 1


@virtual
async def test_what_disconnect_says_wins_over_the_code() -> None:
    async with World() as world:
        socket = await world.connected()
        socket.push("disconnect", code=1012, reason="restart", reconnect=True, retryAfter=7_000)
        socket.shut(1006)
        await settle()
        lost = world.states[-1]
        assert isinstance(lost, Reconnecting)
        assert (lost.backoff_delay, str(lost.last_error)) == (7_000, "restart (close code 1012)")
        socket = await world.accept(resumed=True)
        socket.push("disconnect", code=4411, reason="stay away", reconnect=False)
        socket.shut(4411)
        await settle()
        assert world.statuses()[-1] == "disconnected"


@virtual
async def test_a_refused_token_says_the_servers_words() -> None:
    async with World() as world:
        connecting = world.connecting()
        socket = await world.network.socket()
        await socket.expect("auth")
        socket.push("error", code="UNAUTHENTICATED", message="Log in again.", temporary=False)
        socket.shut(4501)
        with pytest.raises(ConnectionError, match="Log in again") as failed:
            await connecting
        assert failed.value.reason == "authentication_failed"
        assert isinstance(failed.value.__cause__, NotificationError)


@virtual
async def test_retries_end_where_the_policy_says() -> None:
    async with World(retry_config=RetryConfig(max_retries=2, jitter=False)) as world:
        world.network.refusals = [Unreachable("nobody there")] * 3
        with pytest.raises(ConnectionError, match="nobody there"):
            await world.client.connect()
        assert world.network.attempts == 3
        failures = world.client.get_stats().failures
        assert [failure.attempt for failure in failures] == [0, 1, 2]
        assert {failure.reason for failure in failures} == {"network_error"}
        assert failures[1].at - failures[0].at >= timedelta(seconds=1)
        await world.connected()  # the application may begin anew


@pytest.mark.parametrize(
    ("refusal", "comes_back"),
    [
        (Refused(503, "full", 20.0), True),
        (Refused(429, "slowly", None), True),
        (Refused(403, "hostile origin", None), False),
        (Unusable("no such thing"), False),
    ],
)
@virtual
async def test_upgrades_that_are_refused(refusal: Refused | Unusable, comes_back: bool) -> None:
    async with World() as world:
        world.network.refusals = [refusal]
        if comes_back:
            await world.connected()
        else:
            with pytest.raises(ConnectionError, match=str(refusal)[:20]):
                await world.client.connect()


@virtual
async def test_a_server_that_says_nothing_is_left_after_15_seconds() -> None:
    async with World() as world:
        world.connecting()
        socket = await world.network.socket()
        await socket.until_closed()
        lost = world.states[-1]
        assert isinstance(lost, Reconnecting)
        assert lost.last_error.reason == "timeout"
        assert 14 < asyncio.get_running_loop().time() < 16


@virtual
async def test_connect_hurries_a_reconnection() -> None:
    async with World(retry_config=RetryConfig(initial_delay=3_600_000, max_delay=3_600_000)) as it:
        socket = await it.connected()
        socket.shut(1006)
        await settle()
        connecting = it.connecting()
        await it.accept(resumed=True)
        await connecting
        assert asyncio.get_running_loop().time() < 1


@virtual
async def test_whoever_waits_for_connect_may_go() -> None:
    async with World() as world:
        first = world.connecting()
        await settle()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await world.connected()


@virtual
async def test_a_failing_start_leaves_nothing_behind() -> None:
    world = World(retry_config=NEVER)
    world.network.refusals = [Unreachable("no")] * 2
    with pytest.raises(ConnectionError):
        async with world.client:
            pass


@virtual
async def test_silence_after_a_ping_is_death_and_any_frame_is_life() -> None:
    async with World(heartbeat_interval=10_000, heartbeat_timeout=2_000) as world:
        socket = await world.connected()
        await wait(10_100)
        assert [frame["type"] for frame in socket.sent()] == ["ping"]
        deliver(socket, 1)
        await wait(9_000)
        assert world.statuses()[-1] == "connected"
        await wait(4_000)
        assert isinstance(world.states[-1], Reconnecting | Connecting)
        assert world.client.get_stats().failures[-1].reason == "timeout"


@virtual
async def test_pongs_measure() -> None:
    async with World(heartbeat_interval=1_000) as world:
        socket = await world.connected()
        await wait(1_001)
        (ping,) = socket.sent()
        await wait(40)
        socket.push("pong", t=ping["t"], cursor={"epoch": "x1", "offsets": {"0": 3}})
        await settle()
        state = world.client.get_connection_state()
        assert isinstance(state, Connected)
        assert state.latency == pytest.approx(41, abs=1.1)
        stats = world.client.get_stats()
        assert 0 < stats.average_latency < 41
        assert stats.uptime == pytest.approx(1_041, abs=2)
        assert world.client.get_cursor().offsets == {"0": 3}  # type: ignore[union-attr]
        assert len(world.states) == 2  # a new latency is no transition
