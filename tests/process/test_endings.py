"""Connections that others ended, found although the bus said nothing and the database was away."""

import uuid
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts.models import ApiKey, TokenFamily
from accounts.revocations import revoked_between
from accounts.services import create_api_key
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub.subscriber import Wish
from notifications.models import Session
from notifications.process import endings as endings_module
from notifications.process.endings import Endings
from notifications.services.servers import register_server
from tests.process.doubles import Recorder, by_handle
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)

SERVER = "here"
OUTAGE = timedelta(hours=2)


class Clock:
    """The time of day, as far as endings are concerned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = timezone.now()
        monkeypatch.setattr(endings_module, "timezone", SimpleNamespace(now=lambda: self.now))

    def pass_(self, span: timedelta) -> datetime:
        self.now += span
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def fail(*_: object, **__: object) -> Any:
    raise OperationalError("the database is away")


async def make_key(clock: Clock) -> Recorder:
    def make() -> str:
        create_api_key(name="k", publish=[], subscribe=["**"])
        return ApiKey.objects.get().principal_id

    return Recorder(principal_id=await in_database(make))


async def test_a_key_revoked_right_before_a_long_outage_does_not_stay_connected(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await make_key(clock)
    endings = Endings(SERVER, [connection], by_handle(connection))
    await endings.close_revoked()
    await in_database(ApiKey.objects.update, revoked_at=clock.pass_(timedelta(seconds=1)))
    with monkeypatch.context() as away:
        away.setattr(endings_module, "revoked_between", fail)
        for _ in range(3):
            clock.pass_(OUTAGE / 3)
            with pytest.raises(Unavailable):
                await endings.close_revoked()
    revoked_meanwhile = connection.revocations
    await endings.close_revoked()
    assert (revoked_meanwhile, connection.revocations) == (0, 1)


async def test_what_expired_or_lost_its_family_in_an_outage_is_closed(clock: Clock) -> None:
    connection = await make_key(clock)

    def prepare() -> str:
        expires_at = clock.now + timedelta(minutes=1)
        ApiKey.objects.update(expires_at=expires_at)
        user = rows.user("u")
        revoked_at = clock.now + timedelta(minutes=1)
        return str(TokenFamily.objects.create(user=user, revoked_at=revoked_at).pk)

    of_family = Recorder(family=await in_database(prepare))
    other = Recorder(principal_id="user:2", family="another")
    endings = Endings(SERVER, [], by_handle(connection, of_family, other))
    clock.pass_(OUTAGE)
    await endings.close_revoked()
    assert (connection.revocations, of_family.revocations, other.revocations) == (1, 1, 0)


async def test_a_revocation_while_nobody_was_here_is_looked_for_no_more(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []
    original = revoked_between

    def look(start: datetime, end: datetime) -> Any:
        asked.append(start)
        return original(start, end)

    monkeypatch.setattr(endings_module, "revoked_between", look)
    books: dict[Any, Recorder] = {}
    endings = Endings(SERVER, [], books)
    clock.pass_(OUTAGE)
    await endings.close_revoked()
    assert asked == [], "nobody is here"
    books |= by_handle(Recorder())
    last = clock.now
    clock.pass_(timedelta(seconds=1))
    await endings.close_revoked()
    assert asked == [last - endings_module.OVERLAP]


async def session_here(clock: Clock, **fields: Any) -> Recorder:
    def make() -> Session:
        register_server(SERVER, now=clock.now)
        return rows.session("user:1", server_id=SERVER, connects=1, **fields)

    session = await in_database(make)
    return Recorder(handle=session.pk, connects=1)


@pytest.mark.parametrize(
    ("reason", "code"), [("server_initiated", 4503), ("taken_over", 4504)], ids=["operator", "new"]
)
async def test_a_session_ended_right_before_a_long_outage_is_closed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, reason: str, code: int
) -> None:
    connection = await session_here(clock)
    endings = Endings(SERVER, [connection], by_handle(connection))
    await endings.close_ended()
    ended_at = clock.pass_(timedelta(seconds=1))
    await in_database(
        Session.objects.update, state="disconnected", reason=reason, ended_at=ended_at
    )
    with monkeypatch.context() as away:
        away.setattr(endings_module, "taken_lately", fail)  # the second of two reads
        clock.pass_(OUTAGE)
        with pytest.raises(Unavailable):
            await endings.close_ended()
    clock.pass_(timedelta(seconds=1))
    await endings.close_ended()
    assert set(connection.closed) == {code}


async def test_a_session_taken_elsewhere_right_before_a_long_outage_is_closed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await session_here(clock)
    endings = Endings(SERVER, [connection], by_handle(connection))
    await endings.close_ended()
    taken_at = clock.pass_(timedelta(seconds=1))

    def take() -> None:
        register_server("elsewhere", now=taken_at)
        Session.objects.update(
            server_id="elsewhere", taken_from=SERVER, taken_at=taken_at, connects=2
        )

    await in_database(take)
    with monkeypatch.context() as away:
        away.setattr(endings_module, "ended_lately", fail)
        clock.pass_(OUTAGE)
        with pytest.raises(Unavailable):
            await endings.close_ended()
    await endings.close_ended()
    assert connection.closed == [4504]


class Counted(dict[str, Wish]):
    """Wishes that count how often somebody went through them."""

    passes = 0

    def values(self) -> Any:
        Counted.passes += 1
        return super().values()

    def items(self) -> Any:
        Counted.passes += 1
        return super().items()


async def test_subscriptions_that_an_operator_ended_are_found_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Counted, "passes", 0)
    connections = [Recorder() for _ in range(300)]
    for number, connection in enumerate(connections):
        wishes = {f"u.{number}.{n}": Wish(f"{number}-{n}") for n in range(5)}
        connection.subscriber.wishes = Counted(wishes)
    endings = Endings(SERVER, connections, {})
    endings.hear({"dropped": [f"{number}-3" for number in range(200)] + ["unknown"]})
    assert Counted.passes == len(connections)
    ended = [subscription_id for one in connections for subscription_id, _ in one.told]
    assert ended == [f"{number}-3" for number in range(200)]
    endings.hear({})
    assert Counted.passes == len(connections), "nothing was to be ended"


async def test_subscriptions_that_others_began_are_looked_at_when_the_bus_says_so(
    clock: Clock,
) -> None:
    here, other = Recorder(), Recorder()
    endings = Endings(SERVER, [here, other], by_handle(here, other))
    endings.hear({"begun": str(here.handle), "at": clock.now.isoformat()})
    endings.hear({"begun": str(uuid.uuid4()), "at": clock.now.isoformat()})
    assert (here.changed, other.changed) == ([clock.now], [])


async def test_and_are_found_when_the_bus_said_nothing(clock: Clock) -> None:
    connection = await session_here(clock)
    endings = Endings(SERVER, [connection], by_handle(connection))
    await endings.close_ended()
    changed_at = clock.pass_(timedelta(seconds=1))
    await in_database(Session.objects.update, subscriptions_changed_at=changed_at)
    clock.pass_(OUTAGE)
    await endings.close_ended()
    assert connection.changed == [changed_at]
    clock.pass_(OUTAGE)
    await endings.close_ended()
    assert connection.changed == [changed_at], "that was long ago"
