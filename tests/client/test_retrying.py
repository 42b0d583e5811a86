"""The retry controller: counts, breakers, the server's policy and health."""

import asyncio
import logging

import pytest

from bellwether_client import (
    CircuitBreakerConfig,
    ConnectionError,
    NotificationError,
    Reconnecting,
    RetryConfig,
)
from bellwether_client.transport import Refused, Unreachable
from tests.client.fake_server import auth_success
from tests.client.virtual import virtual
from tests.client.world import AT_ONCE, World, settle, wait

DOUBLING = RetryConfig(max_retries=0, initial_delay=1_000, max_delay=30_000, jitter=False)


def delays(world: World) -> list[float]:
    return [state.backoff_delay for state in world.states if isinstance(state, Reconnecting)]


@virtual
async def test_the_count_begins_anew_after_five_stable_seconds() -> None:
    async with World(retry_config=DOUBLING) as world:
        socket = await world.connected()
        for lived in (0, 0, 4_000, 5_001, 0):
            await wait(lived)
            socket.shut(1006)
            socket = await world.accept(resumed=True)
        assert delays(world) == [1_000, 2_000, 4_000, 1_000, 2_000]
        attempts = [failure.attempt for failure in world.client.get_stats().failures]
        assert attempts == [0, 1, 2, 0, 1]


@virtual
async def test_the_policy_that_the_server_pushed_is_kept_where_none_is_configured() -> None:
    retry = auth_success()["retry"] | {
        "initialDelay": 100,
        "maxDelay": 10_000,
        "strategy": "adaptive",
        "health": 0.5,
    }
    async with World(retry_config=None) as world:
        socket = await world.connected(retry=retry)
        socket.shut(1006)
        socket = await world.accept(resumed=True, retry=retry)
        socket.push("disconnect", code=4410, reason="r", reconnect=True, health=0.25)
        socket.shut(4410)
        await settle()
        assert delays(world) == [200, 800]


@virtual
async def test_before_that_it_is_the_seeds() -> None:
    async with World(retry_config=None) as world:
        world.network.refusals = [Unreachable("no")] * 3
        await world.connected()
        assert delays(world) == [1_000, 2_000, 4_000]  # random 0.5 moves nothing


@virtual
async def test_the_last_twenty_failures_are_kept() -> None:
    config = CircuitBreakerConfig(failure_threshold=1_000)
    async with World(circuit_breaker=config) as world:
        world.network.refusals = [Refused(500, f"number {number}", 1.0) for number in range(25)]
        await world.connected()
        failures = world.client.get_stats().failures
        assert [failure.attempt for failure in failures] == list(range(5, 25))
        assert "number 24" in failures[-1].message


@pytest.mark.parametrize(
    ("status", "comes_back"),
    [(status, True) for status in (429, 500, 501, 502, 503, 504, 505, 520, 599)]
    + [
        (status, False)
        for status in (200, 204, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 425, 426)
    ],
)
@virtual
async def test_an_upgrade_refused_for_now_is_tried_again_and_no_other(
    status: int, comes_back: bool
) -> None:
    async with World() as world:
        world.network.refusals = [Refused(status, "", None)]
        if comes_back:
            await world.connected()
            (failure,) = world.client.get_stats().failures
            assert (failure.reason, failure.close_code) == ("network_error", None)
        else:
            with pytest.raises(ConnectionError, match=f"with {status}") as ended:
                await world.client.connect()
            assert (ended.value.reason, ended.value.status) == ("protocol_error", status)
            assert world.network.attempts == 1


@virtual
async def test_the_breaker_of_the_attempt_to_connect() -> None:
    config = CircuitBreakerConfig(failure_threshold=2, reset_timeout=30_000)
    async with World(circuit_breaker=config) as world:
        world.network.refusals = [Unreachable("no")] * 3
        await world.connected()
        assert delays(world) == [1, 30_000, 30_000]
        assert [event.circuit for event in world.told("circuit")] == [
            "open",
            "half-open",
            "open",
            "half-open",
            "closed",
        ]
        assert world.client.get_stats().circuit == "closed"


@virtual
async def test_the_application_passes_an_open_breaker_and_retry_after_does_not() -> None:
    config = CircuitBreakerConfig(failure_threshold=1, reset_timeout=30_000)
    async with World(circuit_breaker=config) as world:
        world.network.refusals = [Refused(503, "full", 5.0)]
        world.connecting()
        await wait(100)
        assert delays(world) == [30_000]
        assert world.client.get_stats().circuit == "open"
        connecting = world.connecting()
        await world.accept()
        await connecting
        assert asyncio.get_running_loop().time() < 1


@virtual
async def test_the_breaker_of_the_token_function() -> None:
    config = CircuitBreakerConfig(failure_threshold=2, reset_timeout=60_000)
    failures = [OSError("away"), OSError("away")]

    def token() -> str:
        if failures:
            raise failures.pop()
        return "token"

    async with World(auth=token, circuit_breaker=config) as world:
        await world.connected()
        assert delays(world) == [1, 60_000]
        assert [event.circuit for event in world.told("circuit")] == ["open", "half-open", "closed"]
        assert world.network.attempts == 1


@virtual
async def test_a_token_function_that_refuses_for_good_ends_it() -> None:
    async def token() -> str:
        raise NotificationError("FORBIDDEN", "You are blocked.")

    async with World(auth=token) as world:
        with pytest.raises(ConnectionError, match="You are blocked") as ended:
            await world.client.connect()
        assert ended.value.reason == "authentication_failed"
        assert world.network.attempts == 0


@virtual
async def test_a_token_function_that_asks_for_time_gets_it() -> None:
    refusals = [NotificationError("RATE_LIMITED", "Wait.", temporary=True, retry_after=9_000)]

    def token() -> str:
        if refusals:
            raise refusals.pop()
        return "token"

    async with World(auth=token) as world:
        await world.connected()
        assert delays(world) == [9_000]


@virtual
async def test_a_token_function_that_hangs_is_given_up() -> None:
    tokens = iter([asyncio.Event().wait()])

    async def token() -> str:
        for hanging in tokens:
            await hanging
        return "token"

    async with World(auth=token) as world:
        await world.connected()
        assert [failure.reason for failure in world.client.get_stats().failures] == ["timeout"]


@virtual
async def test_what_is_no_token_is_no_token() -> None:
    async with World(auth=lambda: None, retry_config=RetryConfig(max_retries=1)) as world:
        with pytest.raises(ConnectionError, match="NoneType"):
            await world.client.connect()


@virtual
async def test_debug_tells_types_and_never_a_token_or_payload() -> None:
    lines: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("bellwether_client")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        async with World(auth="secret-token", debug=True, retry_config=AT_ONCE) as world:
            socket = await world.connected(sessionId="secret-session")
            publishing = asyncio.create_task(world.client.publish("a", "secret-payload"))
            await settle()
            socket.shut(1006)
            await world.accept(resumed=True, sessionId="secret-session")
            await world.client.disconnect()
            await asyncio.gather(publishing, return_exceptions=True)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    text = "\n".join(lines)
    assert "secret" not in text
    for word in ("auth", "auth_success", "publish", "connected", "reconnecting"):
        assert word in text
