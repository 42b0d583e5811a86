"""The credentials that are remembered: for how long, how many, and what is not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import ApiKey
from accounts.principal import Principal
from accounts.services import create_api_key, revoke_api_key
from notifications.api import credentials as module
from notifications.api.credentials import KEPT_SECONDS, REFRESH_SECONDS, Credentials, digest_of
from notifications.database import in_database
from notifications.errors import Unauthenticated, Unavailable

REVOCATION_SECONDS = 2.0
"""Within so many a revocation is promised to take effect on every server."""


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take the place of the database; note what is looked up."""
    noted: list[str] = []

    async def look_up(text: str, *, is_key: bool) -> Principal:
        noted.append(text)
        await asyncio.sleep(0)
        if text.startswith("bad"):
            raise Unauthenticated("bad")
        return Principal(
            id=f"key:{text}",
            user_id=None,
            name=text,
            is_admin=False,
            publish=(),
            subscribe=(),
            expires_at=50.0 if text == "brief" else None,
        )

    monkeypatch.setattr(module, "_look_up", look_up)
    return noted


def known(here: Credentials, text: str, *, is_key: bool = True) -> Principal | None:
    return here.known(text, digest_of(text, is_key=is_key), is_key=is_key)


@pytest.mark.django_db(transaction=True)
async def test_a_key_that_another_server_revoked_is_refused_within_two_seconds(
    clock: Clock,
) -> None:
    key, text = await in_database(create_api_key, name="test", publish=["a.*"], subscribe=[])
    here = Credentials(now=clock)
    assert (await here.principal_of(text, is_key=True)).id == f"key:{key.identifier}"

    def revoke_elsewhere() -> None:
        # Without the signals of this process, which another server's revocation does not send.
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())

    await in_database(revoke_elsewhere)
    clock.seconds += KEPT_SECONDS
    assert known(here, text, is_key=True) is not None, "it is remembered until then"
    clock.seconds += REVOCATION_SECONDS - KEPT_SECONDS
    assert known(here, text, is_key=True) is None
    with pytest.raises(Unauthenticated):
        await here.principal_of(text, is_key=True)


@pytest.mark.django_db(transaction=True)
async def test_a_key_that_this_server_revoked_is_refused_at_once(clock: Clock) -> None:
    key, text = await in_database(create_api_key, name="test", publish=["a.*"], subscribe=[])
    here = Credentials(now=clock)
    await here.principal_of(text, is_key=True)
    await in_database(revoke_api_key, key)
    await asyncio.sleep(0)
    with pytest.raises(Unauthenticated):
        await here.principal_of(text, is_key=True)


async def test_those_who_ask_together_share_one_look(clock: Clock, looks: list[str]) -> None:
    here = Credentials(now=clock)
    found = await asyncio.gather(*(here.principal_of("k", is_key=True) for _ in range(10)))
    assert len(set(found)) == 1
    assert looks == ["k"]
    await here.principal_of("k", is_key=False)
    assert looks == ["k", "k"], "a token is no key of the same text"


async def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(
    clock: Clock, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    here = Credentials(now=clock)
    for text in "abcd":
        await here.principal_of(text, is_key=True)
    assert len(here._known) == 3
    assert known(here, "a", is_key=True) is None
    assert known(here, "b", is_key=True) is not None


async def test_what_proves_nothing_is_not_remembered(clock: Clock, looks: list[str]) -> None:
    here = Credentials(now=clock)
    for number in range(3):
        with pytest.raises(Unauthenticated):
            await here.principal_of(f"bad {number % 2}", is_key=True)
    await asyncio.sleep(0)
    assert here._known == {}
    assert looks == ["bad 0", "bad 1", "bad 0"]


async def test_a_token_is_not_believed_beyond_its_own_end(looks: list[str]) -> None:
    wall = Clock()
    wall.seconds = 49.9
    here = Credentials(now=Clock(), wall=wall)
    await here.principal_of("brief", is_key=False)
    assert known(here, "brief", is_key=False) is not None
    wall.seconds = 50.0
    assert known(here, "brief", is_key=False) is None
    await here.principal_of("brief", is_key=False)
    assert looks == ["brief", "brief"], "the look that would refuse it is made"


async def test_a_request_that_goes_away_leaves_the_look_to_the_others(
    clock: Clock, looks: list[Any]
) -> None:
    here = Credentials(now=clock)
    gone = asyncio.ensure_future(here.principal_of("k", is_key=True))
    stays = asyncio.ensure_future(here.principal_of("k", is_key=True))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).id == "key:k"
    assert looks == ["k"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_what_is_used_is_looked_up_anew_before_it_is_too_old(
    clock: Clock, looks: list[str]
) -> None:
    here = Credentials(now=clock)
    await here.principal_of("k", is_key=True)
    for _ in range(20):
        clock.seconds += REFRESH_SECONDS * 1.1
        assert known(here, "k") is not None, "nobody waits"
        assert known(here, "k") is not None
        await until(lambda: not here._refreshing)
    assert len(looks) == 21
    clock.seconds += KEPT_SECONDS + 0.1
    assert known(here, "k") is None


async def test_what_a_refresh_finds_counts_from_when_it_was_asked_for(
    clock: Clock, looks: list[str]
) -> None:
    here = Credentials(now=clock)
    await here.principal_of("k", is_key=True)
    clock.seconds += 1.0
    assert known(here, "k") is not None
    clock.seconds += 1.0  # the database takes that long
    await until(lambda: not here._refreshing)
    assert known(here, "k") is not None
    clock.seconds += 0.6
    assert known(here, "k") is None


async def test_a_refresh_that_finds_a_revocation_ends_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, looks: list[str]
) -> None:
    here = Credentials(now=clock)
    await here.principal_of("k", is_key=True)

    async def revoked(text: str, *, is_key: bool) -> Principal:
        raise Unauthenticated("revoked")

    monkeypatch.setattr(module, "_look_up", revoked)
    clock.seconds += 1.0
    assert known(here, "k") is not None
    await until(lambda: not here._refreshing)
    assert known(here, "k") is None


async def test_a_refresh_that_began_before_a_revocation_brings_nothing_back(
    clock: Clock, looks: list[str]
) -> None:
    here = Credentials(now=clock)
    await here.principal_of("k", is_key=True)
    clock.seconds += 1.0
    assert known(here, "k") is not None
    here._forget()
    await until(lambda: not here._refreshing)
    await asyncio.sleep(0)
    assert known(here, "k") is None


async def test_a_database_that_is_away_ends_nothing_early(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, looks: list[str]
) -> None:
    here = Credentials(now=clock)
    await here.principal_of("k", is_key=True)

    async def away(text: str, *, is_key: bool) -> Principal:
        raise Unavailable("away")

    monkeypatch.setattr(module, "_look_up", away)
    clock.seconds += 1.0
    assert known(here, "k") is not None
    await until(lambda: not here._refreshing)
    assert known(here, "k") is not None
    clock.seconds += 0.6
    assert known(here, "k") is None
