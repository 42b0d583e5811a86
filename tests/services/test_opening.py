"""Sessions opened in batches: exactly as one after the other, and each refused for itself."""

import random
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from accounts.principal import Principal
from accounts.refresh import revoke_family, start_family
from accounts.services import create_api_key, create_user
from accounts.tokens import issue_access_token
from notifications.errors import NotificationError, TokenExpired, Unauthenticated, Unavailable
from notifications.models import Session, Subscription
from notifications.services import welcoming
from notifications.services.opening import (
    ClientDescription,
    OpenedSession,
    Opening,
    open_sessions,
)
from notifications.services.servers import new_server_id, register_server
from notifications.services.sessions import SessionChange, record_changes
from notifications.services.welcoming import Credentials, Welcome, welcome

NOW = timezone.now()

pytestmark = pytest.mark.django_db


def principal_of(user: User) -> Principal:
    return Principal(
        id=f"user:{user.pk}",
        user_id=user.pk,
        name=user.username,
        is_admin=False,
        publish=(),
        subscribe=(),
    )


@pytest.fixture
def alice() -> Principal:
    return principal_of(create_user(username="alice", password=None))


@pytest.fixture
def server() -> str:
    server_id = new_server_id()
    register_server(server_id, now=NOW)
    return server_id


def opening(principal: Principal, client_id: str = "tab", resume: str | None = None) -> Opening:
    return Opening(principal, ClientDescription(client_id=client_id, name=client_id), resume)


def opened(answers: Any) -> list[OpenedSession]:
    sessions = list(answers)
    assert all(isinstance(session, OpenedSession) for session in sessions), sessions
    return sessions


def test_of_one_client_in_a_batch_the_later_takes_over(alice: Principal, server: str) -> None:
    batch = [opening(alice), opening(alice, "another"), opening(alice)]
    first, other, second = opened(open_sessions(batch, server_id=server, now=NOW))
    assert (first.replaced, other.replaced, second.replaced) == (None, None, first.handle)
    assert (first.connects, second.connects) == (1, 2)
    rows = {row.pk: (row.state, row.reason, row.ended_at) for row in Session.objects.all()}
    assert rows[first.handle] == ("disconnected", "taken_over", NOW)
    assert rows[second.handle] == rows[other.handle] == ("connected", "", None)


def test_of_one_session_in_a_batch_the_later_resumes_it(alice: Principal, server: str) -> None:
    (begun,) = opened(open_sessions([opening(alice)], server_id=server, now=NOW))
    batch = [opening(alice, resume=begun.secret)] * 2
    first, second = opened(open_sessions(batch, server_id=server, now=NOW))
    assert first.resumed
    assert second.resumed
    assert (first.connects, second.connects) == (2, 3)
    assert first.replaced == second.replaced == begun.handle
    row = Session.objects.get()
    assert (row.connects, row.taken_from, row.taken_at) == (3, server, NOW)


def test_of_a_client_that_resumes_and_begins_anew_in_a_batch_the_later_holds(
    alice: Principal, server: str
) -> None:
    (begun,) = opened(open_sessions([opening(alice)], server_id=server, now=NOW))
    batch = [opening(alice, resume=begun.secret), opening(alice), opening(alice, resume="wrong")]
    back, anew, again = opened(open_sessions(batch, server_id=server, now=NOW))
    assert [one.connects for one in (back, anew, again)] == [2, 3, 4]
    assert Session.objects.get(ended_at=None).pk == again.handle
    assert Session.objects.get(pk=begun.handle).connects == 2
    assert Session.objects.filter(reason="taken_over").count() == 2


def ways(seed: int) -> list[list[tuple[str, str, str]]]:
    """Make batches of (client, what it resumes with, its name)."""
    chance = random.Random(seed)
    return [
        [
            (chance.choice("abc"), chance.choice(["", "last", "first", "wrong"]), f"{batch}.{i}")
            for i in range(chance.randint(1, 6))
        ]
        for batch in range(4)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_a_batch_is_what_its_openings_are_one_after_the_other(server: str, seed: int) -> None:
    told = []
    for size in (1, 100):
        user = create_user(username=f"by-{size}", password=None)
        principal = principal_of(user)
        secrets: dict[str, list[str]] = {client: ["none"] for client in "abc"}
        handles: dict[Any, int] = {None: -1}
        answers: list[Any] = []
        for number, batch in enumerate(ways(seed)):
            # What a client can name was given to it before this batch.
            known = {client: {"": None, "wrong": "wrong", "first": had[0], "last": had[-1]}
                     for client, had in secrets.items()}  # fmt: skip
            openings = [
                Opening(
                    principal,
                    ClientDescription(client_id=client, name=name),
                    known[client][resume],
                )
                for client, resume, name in batch
            ]
            now = NOW + timedelta(seconds=number)
            got: list[OpenedSession] = []
            for start in range(0, len(openings), size):
                part = openings[start : start + size]
                got += opened(open_sessions(part, server_id=server, now=now))
            for (client, *_), one in zip(batch, got, strict=True):
                secrets[client].append(one.secret)
                handles.setdefault(one.handle, len(handles))
                answers.append(
                    (handles[one.handle], one.connects, one.resumed, handles[one.replaced])
                )
            leaving = got[-1]
            record_changes([
                SessionChange(handle=leaving.handle, server_id=server, connects=leaving.connects,
                              state="reconnecting", reason="network_error", since=now)
            ])  # fmt: skip
        rows = {
            handles[row.pk]: (
                row.client_id, row.client_name, row.state, row.reason, row.since, row.connects,
                row.ended_at, row.taken_from, row.taken_at, row.server_id, row.user_id == user.pk,
            )
            for row in Session.objects.filter(principal=principal.id)
        }  # fmt: skip
        told.append((answers, rows))
    assert told[0] == told[1]


def test_a_batch_costs_as_many_queries_as_one(
    alice: Principal, server: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    batch = [opening(alice, f"c{number}") for number in range(50)]
    begun = opened(open_sessions(batch, server_id=server, now=NOW))
    for number in (7, 9):
        Subscription.objects.create(
            principal=alice.id, client_id=f"c{number}", pattern=f"a.{number}", created_at=NOW
        )
    again = [opening(alice, f"c{i}", one.secret) for i, one in enumerate(begun)]
    with django_assert_num_queries(5):  # a savepoint and its end among them
        back = opened(open_sessions(again, server_id=server, now=NOW))
    assert all(one.resumed for one in back)
    held = {i: one.subscriptions[0].pattern for i, one in enumerate(back) if one.subscriptions}
    assert held == {7: "a.7", 9: "a.9"}


# --- Who comes with what ------------------------------------------------------------------------


def test_each_is_refused_for_itself(server: str) -> None:
    user = create_user(username="ada", password=None)
    ended, good = start_family(user), start_family(user)
    revoke_family(ended.refresh)
    expired = issue_access_token(user, now=NOW - timedelta(days=1)).access
    _, key = create_api_key(name="shop")
    tokens = ["nonsense", good.access, ended.access, key, expired, good.access]
    batch = [
        Credentials(token, ClientDescription(client_id=f"c{number}"))
        for number, token in enumerate(tokens)
    ]
    answers = welcome(batch, server_id=server, now=NOW)
    kinds = [type(answer) for answer in answers]
    assert kinds == [Unauthenticated, Welcome, Unauthenticated, Welcome, TokenExpired, Welcome]
    rows = Session.objects.order_by("client_id").values_list("client_id", "user_id")
    assert list(rows) == [("c1", user.pk), ("c3", None), ("c5", user.pk)]


def test_a_batch_of_bad_credentials_opens_nothing(server: str) -> None:
    batch = [Credentials("nonsense", ClientDescription(client_id="c"))] * 2
    answers = welcome(batch, server_id=server, now=NOW)
    assert [type(answer) for answer in answers] == [Unauthenticated] * 2
    assert not Session.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_whom_the_database_refuses_is_refused_alone(alice: Principal, server: str) -> None:
    deleted = create_user(username="deleted", password=None)
    ghost = principal_of(deleted)
    deleted.delete()  # after its token was verified
    batch = [opening(alice, "a"), opening(ghost, "b"), opening(alice, "c")]
    answers = open_sessions(batch, server_id=server, now=NOW)
    assert [type(answer) for answer in answers] == [OpenedSession, Unavailable, OpenedSession]
    assert sorted(Session.objects.values_list("client_id", flat=True)) == ["a", "c"]


# --- Two servers --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_servers_that_open_the_same_clients_at_once_agree_in_the_end(
    alice: Principal, server: str
) -> None:
    other = new_server_id()
    register_server(other, now=NOW)
    clients = [f"c{number}" for number in range(30)]
    rounds = 4
    failures: list[Any] = []

    def serve(server_id: str, seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(rounds):
                chance.shuffle(clients_of[server_id])
                batch = [opening(alice, client) for client in clients_of[server_id]]
                answers = open_sessions(batch, server_id=server_id, now=timezone.now())
                failures.extend(one for one in answers if isinstance(one, NotificationError))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    clients_of = {server: list(clients), other: list(clients)}
    threads = [threading.Thread(target=serve, args=(one, i)) for i, one in enumerate(clients_of)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    still_open = Session.objects.filter(ended_at=None)
    assert sorted(still_open.values_list("client_id", flat=True)) == sorted(clients)
    assert set(still_open.values_list("connects", flat=True)) == {2 * rounds}
    assert Session.objects.count() == 2 * rounds * len(clients)


def test_a_log_that_cannot_be_read_leaves_no_session_that_nobody_has(
    monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    def away() -> None:
        raise OperationalError("away")

    monkeypatch.setattr(welcoming, "read_state", away)
    token = issue_access_token(create_user(username="u", password=None)).access
    with pytest.raises(OperationalError):
        welcome([Credentials(token, ClientDescription(client_id="c"))], server_id=server, now=NOW)
    assert not Session.objects.exists()
