"""A fresh token on an open connection: what changes with it, and what it may not be."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.authentication import authenticate_credentials
from accounts.models import TopicGrant, User
from accounts.refresh import start_family
from accounts.services import create_api_key
from accounts.tokens import issue_access_token
from notifications.database import in_database
from notifications.gateway import deadlines as deadlines_module
from notifications.hub import Hub
from notifications.hub.subscriber import Wish
from notifications.log.records import now_ms
from notifications.models import Subscription
from notifications.protocol.frames import Auth, Refresh, Replay
from tests.gateway.clients import Client, client_of, publish

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3_600_000


async def ada(*patterns: str) -> User:
    """A user who may read patterns."""
    user = await User.objects.acreate(username="ada")
    for pattern in patterns:
        await TopicGrant.objects.acreate(user=user, action="subscribe", pattern=pattern)
    return user


async def client_with(hub: Hub, token: str, *patterns: str) -> Client:
    """A connection that authenticated with a token, and the rows of what it subscribed to."""
    client = await client_of(hub, *patterns)
    principal = await in_database(authenticate_credentials, token)
    client.connection.principal = principal
    for pattern in patterns:
        row = await Subscription.objects.acreate(
            principal=principal.id,
            client_id="test",
            pattern=pattern,
            created_at=datetime.now(UTC),
        )
        hub.add(client.connection.subscriber, pattern, Wish(str(row.pk)))
    return client


async def refreshed(client: Client, token: str) -> str:
    """Refresh; return the code of the error, or nothing."""
    before = len(client.frames)
    await client.ask(Refresh(id=7, token=token))
    answer = await client.until_another(before)
    assert answer["id"] == 7
    return str(answer.get("code", ""))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Milliseconds that the deadlines' clock is ahead."""
    ahead = [0]
    monkeypatch.setattr(deadlines_module, "now_ms", lambda: now_ms() + ahead[0])
    return ahead


async def test_the_deadlines_move_with_the_token(hub: Hub, clock: list[int], settings: Any) -> None:
    user = await ada()
    client = await client_with(hub, issue_access_token(user).access)
    clock[0] = 900_000 - 30_000
    client.connection.check_token()
    assert (await client.until("token_expiring"))["expiresIn"] <= 30_000
    settings.ACCOUNTS = {**settings.ACCOUNTS, "ACCESS_TOKEN_LIFETIME": timedelta(hours=2)}
    await client.ask(Refresh(id=1, token=issue_access_token(user).access))
    answer = await client.until("refreshed")
    assert 2 * HOUR - 60_000 < answer["expiresIn"] <= 2 * HOUR
    clock[0] = HOUR
    client.connection.check_token()
    assert not client.connection.is_closing, "the old token has expired long ago"
    assert [frame["type"] for frame in client.frames] == ["token_expiring", "refreshed"]
    clock[0] = 2 * HOUR - 30_000
    client.connection.check_token()
    assert (await client.until_another(2))["type"] == "token_expiring"
    clock[0] = 2 * HOUR + 11_000
    client.connection.check_token()
    assert (await client.until("websocket.close"))["code"] == 4401


async def test_a_token_that_expires_soon_is_warned_about_at_once(hub: Hub) -> None:
    user = await ada()
    client = await client_with(hub, issue_access_token(user).access)
    soon = issue_access_token(user, now=datetime.now(UTC) - timedelta(seconds=870))
    await client.ask(Refresh(id=1, token=soon.access))
    assert (await client.until("refreshed"))["expiresIn"] <= 30_000
    assert (await client.until("token_expiring"))["expiresIn"] <= 30_000


async def test_what_proves_nothing_changes_nothing(hub: Hub) -> None:
    user = await ada()
    other = await User.objects.acreate(username="bob")
    key = await in_database(lambda: create_api_key(name="k", owner=user))
    client = await client_with(hub, issue_access_token(user).access)
    before = client.connection.principal
    late = issue_access_token(user, now=datetime.now(UTC) - timedelta(hours=1)).access
    assert await refreshed(client, "nonsense") == "UNAUTHENTICATED"
    assert await refreshed(client, late) == "TOKEN_EXPIRED"
    assert await refreshed(client, issue_access_token(other).access) == "FORBIDDEN"
    assert await refreshed(client, key[1]) == "FORBIDDEN", "a key acts for itself"
    assert client.connection.principal is before
    assert not client.connection.is_closing


async def test_the_family_of_the_new_token_is_what_can_end_the_connection(hub: Hub) -> None:
    user = await ada()
    first = await in_database(start_family, user)
    second = await in_database(start_family, user)
    client = await client_with(hub, first.access)
    family = client.connection.principal.family if client.connection.principal else None
    assert await refreshed(client, second.access) == ""
    assert client.connection.principal is not None
    assert client.connection.principal.family not in (None, family)


async def test_a_key_refreshes_with_itself_and_never_expires(hub: Hub) -> None:
    row, text = await in_database(lambda: create_api_key(name="k", subscribe=["a.*"]))
    client = await client_with(hub, text, "a.*")
    await TopicGrant.objects.acreate(api_key=row, action="subscribe", pattern="b.*")
    await client.ask(Refresh(id=1, token=text))
    assert await client.until("refreshed") == {"type": "refreshed", "id": 1}
    assert client.connection.principal is not None
    assert client.connection.principal.subscribe == ("a.*", "b.*")


async def test_what_may_not_be_read_any_more_ends(hub: Hub) -> None:
    user = await ada("a.*", "b.*")
    client = await client_with(hub, issue_access_token(user).access, "a.1", "b.*")
    await TopicGrant.objects.filter(pattern="a.*").adelete()
    assert await refreshed(client, issue_access_token(user).access) == ""
    ended = await client.until("unsubscribed")
    assert (ended["code"], "id" in ended) == ("FORBIDDEN", False)
    assert await in_database(lambda: [row.pattern for row in Subscription.objects.all()]) == ["b.*"]
    await publish(hub, "a.1", "b.1")
    await client.until("message")
    assert [frame["topic"] for frame in client.frames if frame["type"] == "message"] == ["b.1"]


async def test_a_replay_that_goes_out_brings_nothing_that_may_not_be_read_any_more(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await ada("a.**")
    client = await client_with(hub, issue_access_token(user).access, "a.**")
    await publish(hub, *["a.1"] * 3)
    hub.pages.clear()
    load = hub.pages.load

    async def meanwhile(*arguments: int, head: int) -> object:
        await TopicGrant.objects.filter(pattern="a.**").adelete()
        await client.ask(Refresh(id=2, token=issue_access_token(user).access))
        return await load(*arguments, head=head)

    monkeypatch.setattr(hub.pages, "load", meanwhile)
    before = len(client.payloads())
    cursor = {"epoch": hub.identity.epoch, "offsets": {}}
    await client.ask(Replay(id=1, cursor=cursor))
    complete = await client.until("replay_complete")
    assert complete["count"] == len(client.payloads()) - before == 0
    assert (await client.until("unsubscribed"))["code"] == "FORBIDDEN"


async def test_too_many_are_refused_for_a_while(hub: Hub, settings: Any) -> None:
    user = await ada()
    token = issue_access_token(user).access
    client = await client_with(hub, token)
    codes = [await refreshed(client, token) for _ in range(11)]
    assert codes == [""] * 10 + ["RATE_LIMITED"]
    assert 0 < client.frames[-1]["retryAfter"] <= 5000
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "RATE_LIMITS": False}
    assert await refreshed(client, token) == ""


async def test_no_token_is_logged_when_the_server_fails(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await client_with(hub, issue_access_token(await ada()).access)

    async def fails(token: str) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(client.connection.process.renewals, "ask", fails)
    with caplog.at_level(logging.DEBUG):
        assert await refreshed(client, "the-secret") == "INTERNAL"
    assert "the-secret" not in caplog.text
    frames = Refresh(id=1, token="the-secret"), Auth(token="the-secret", client_id="c")
    assert "the-secret" not in repr(frames)
