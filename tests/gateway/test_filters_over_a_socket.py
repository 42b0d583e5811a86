"""Server-side filters over real sockets, on each server and in each codec."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployment import Deployment, Server
from tests.gateway.servers import EACH_SERVER_AND_CODEC, SERVERS
from tests.socket_client import WAIT, SocketClient, connect, session

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

ORDER = {"eq": ["payload.kind", "order"]}
LARGE = {"and": [{"eq": ["payload.kind", "invoice"]}, {"gte": ["payload.total", 100]}]}

House = tuple[Deployment, Server, str, str]


@pytest.fixture(scope="module", params=EACH_SERVER_AND_CODEC, ids="-".join)
def house(
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("filters")
    template = Deployment.template("sqlite", templates, directory)
    deployment = Deployment.create("sqlite", directory, template)
    kind, codec = request.param
    server = deployment.start(*SERVERS[kind])
    yield deployment, server, deployment.key, codec
    deployment.close()
    assert "Traceback" not in server.log.read_text()


async def publish(client: SocketClient, topic: str, *payloads: Any) -> list[list[int]]:
    """Publish; return the positions."""
    answers = [await client.request("publish", topic=topic, payload=one) for one in payloads]
    return [answer["position"] for answer in answers]


def order(number: int) -> dict[str, Any]:
    return {"kind": "order", "n": number}


def invoice(total: float) -> dict[str, Any]:
    return {"kind": "invoice", "total": total}


async def test_only_what_passes_is_sent_and_the_cursor_passes_the_rest(house: House) -> None:
    _, server, key, codec = house
    async with session(server.socket_url, key, "live", codec) as client:
        await client.subscribe("f1.a", options={"filter": ORDER})
        await publish(client, "f1.a", order(1), invoice(5), order(2))
        ((partition, offset),) = await publish(client, "f1.a", invoice(6))
        assert [one["payload"]["n"] for one in await client.messages(2)] == [1, 2]
        told = 0
        async with asyncio.timeout(WAIT):
            while told < offset:  # `published` may come before the hub has heard of it
                await client.send({"type": "ping"})
                pong = await client.receive()
                told = pong["cursor"]["offsets"].get(str(partition), told)


async def test_one_filter_of_several_subscriptions_is_enough(house: House) -> None:
    _, server, key, codec = house
    async with session(server.socket_url, key, "several", codec) as client:
        await client.subscribe("f2.*", options={"filter": ORDER})
        await client.subscribe("f2.a", options={"filter": LARGE})
        await publish(client, "f2.a", order(1), invoice(5), invoice(100))
        await publish(client, "f2.b", invoice(100), order(2))
        payloads = [one["payload"] for one in await client.messages(3)]
        assert payloads == [order(1), invoice(100), order(2)]
        everything = await client.subscribe("f2.**")
        await publish(client, "f2.a", invoice(1))
        assert (await client.message())["payload"] == invoice(1)
        await client.request("unsubscribe", subscriptionId=everything["subscriptionId"])
        await publish(client, "f2.a", invoice(2), order(3))
        assert (await client.message())["payload"] == order(3)


async def test_it_is_kept_and_holds_for_what_was_missed(house: House) -> None:
    _, server, key, codec = house
    async with session(server.socket_url, key, "other", codec) as other:
        async with connect(server.socket_url, codec) as client:
            success = await client.authenticate(key, "back")
            await client.subscribe("f3.*", options={"filter": ORDER})
            cursor = success["cursor"]
        await publish(other, "f3.a", order(1), invoice(5), order(2), invoice(6))
        async with connect(server.socket_url, codec) as client:
            resume = {"sessionId": success["sessionId"], "cursor": cursor}
            again = await client.authenticate(key, "back", resume=resume)
            assert [held["options"] for held in again["subscriptions"]] == [{"filter": ORDER}]
            assert [one["payload"]["n"] for one in await client.messages(2)] == [1, 2]
            complete = await client.receive()
            assert (complete["recovered"], complete["count"]) == (True, 2)
            await publish(other, "f3.a", invoice(7), order(3))
            message = await client.message()
            assert (message["payload"]["n"], "replayed" in message) == (3, False)
            await client.send({"type": "replay", "id": "r", "cursor": cursor})
            assert [one["payload"]["n"] for one in await client.messages(3)] == [1, 2, 3]
            assert (await client.receive())["count"] == 3


async def test_since_brings_what_passes(house: House) -> None:
    _, server, key, codec = house
    async with session(server.socket_url, key, "since", codec) as client:
        await client.subscribe("f4.*")
        await publish(client, "f4.a", order(1), invoice(5), invoice(100))
        await client.messages(3)  # the server has them: what it has not, would come live
        options = {"filter": LARGE, "since": {"last": 10}}
        await client.subscribe("f4.a", options=options)
        assert (await client.message())["payload"] == invoice(100)
        assert (await client.receive())["count"] == 1


@pytest.mark.parametrize(
    "tree", [{}, {"regex": ["payload", "x"]}, {"eq": ["x", 1]}, {"and": []}, "order", 7, [ORDER]]
)
async def test_a_bad_tree_is_refused_and_nothing_is_subscribed(house: House, tree: Any) -> None:
    _, server, key, codec = house
    async with session(server.socket_url, key, "bad", codec) as client:
        answer = await client.request("subscribe", id="b", topic="f5.a", options={"filter": tree})
        assert (answer["type"], answer["code"], answer["id"]) == ("error", "BAD_FRAME", "b")
        assert "options.filter" in answer["message"]
        await publish(client, "f5.a", order(1))
        await client.send({"type": "ping"})
        assert (await client.receive())["type"] == "pong"


async def test_a_subscription_that_comes_into_force_late_has_its_filter(house: House) -> None:
    """An earlier subscribe was given up and took effect all the same; the retry mends it."""
    deployment, server, key, codec = house
    async with session(server.socket_url, key, "late", codec) as client:
        held = await client.subscribe("f6.other", options={"filter": ORDER})
        deployment.execute(
            "UPDATE notifications_subscription SET pattern = 'f6.a' "
            f"WHERE id = '{held['subscriptionId'].replace('-', '')}'"
        )
        refused = await client.request("subscribe", topic="f6.a")
        assert refused["code"] == "ALREADY_SUBSCRIBED"
        await publish(client, "f6.a", invoice(1), order(1))
        assert (await client.message())["payload"] == order(1)
