"""Sessions, subscriptions and servers: what rows say, whatever the order of events."""

import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from accounts.principal import Principal
from accounts.services import create_user
from notifications.conf import conf
from notifications.errors import (
    AlreadySubscribed,
    NotificationError,
    TooManySubscriptions,
    UnknownSubscription,
)
from notifications.models import Server, Session, Subscription
from notifications.services import opening, sessions
from notifications.services.opening import (
    ClientDescription,
    OpenedSession,
    Opening,
    digest_of,
    open_sessions,
)
from notifications.services.servers import (
    DEAD_AFTER,
    beat,
    clear_dead_servers,
    new_server_id,
    register_server,
    stop_server,
)
from notifications.services.sessions import (
    SessionChange,
    end_unresumed_sessions,
    ended_lately,
    forget_ended_sessions,
    record_changes,
    taken_lately,
)
from notifications.services.subscriptions import (
    Addition,
    Removal,
    change_subscriptions,
    verify_subscriptions,
)

pytestmark = pytest.mark.django_db

NOW = timezone.now()
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def alice() -> Principal:
    user = create_user(username="alice", password=None)
    return Principal(
        id=f"user:{user.pk}",
        user_id=user.pk,
        name="alice",
        is_admin=False,
        publish=(),
        subscribe=(),
    )


@pytest.fixture
def server() -> str:
    server_id = new_server_id()
    register_server(server_id, now=NOW)
    return server_id


def open_(
    alice: Principal,
    server: str,
    client_id: str = "tab",
    *,
    resume: str | None = None,
    now: datetime = NOW,
    **more: Any,
) -> OpenedSession:
    client = ClientDescription(client_id=client_id, **more)
    (opened,) = open_sessions([Opening(alice, client, resume)], server_id=server, now=now)
    assert isinstance(opened, OpenedSession), opened
    return opened


def change(opened: OpenedSession, server: str, state: str, **more: Any) -> SessionChange:
    fields: dict[str, Any] = {"reason": "", "connects": opened.connects, "since": LATER} | more
    return SessionChange(handle=opened.handle, server_id=server, state=state, **fields)


def test_only_a_digest_of_the_secret_is_kept(alice: Principal, server: str) -> None:
    opened = open_(alice, server, name="dashboard", kind="browser", attempt=3)
    row = Session.objects.get()
    assert row.secret_digest == digest_of(opened.secret)
    assert opened.secret not in str(Session.objects.values().get())
    assert (row.state, row.user_id, row.client_kind, row.attempt) == (
        "connected",
        alice.user_id,
        "browser",
        3,
    )


def test_a_newer_session_ends_the_older(alice: Principal, server: str) -> None:
    first = open_(alice, server)
    second = open_(alice, server)
    assert (first.replaced, second.replaced) == (None, first.handle)
    row = Session.objects.get(pk=first.handle)
    assert (row.state, row.reason, row.ended_at) == ("disconnected", "taken_over", NOW)
    assert Session.objects.get(pk=second.handle).connects == 2


def test_a_session_that_was_closed_already_needs_no_takeover(alice: Principal, server: str) -> None:
    first = open_(alice, server)
    record_changes([change(first, server, "reconnecting")])
    assert open_(alice, server).replaced is None


def test_other_clients_keep_theirs(alice: Principal, server: str) -> None:
    open_(alice, server, "one")
    assert open_(alice, server, "two").replaced is None
    assert Session.objects.filter(ended_at=None).count() == 2


def test_the_database_refuses_two_open_sessions_of_a_client(alice: Principal, server: str) -> None:
    open_(alice, server)
    row = Session.objects.get()
    row.pk, row.secret_digest = None, "other"
    with pytest.raises(IntegrityError):
        row.save(force_insert=True)


def test_late_reports_do_not_overwrite_what_is_true_now(alice: Principal, server: str) -> None:
    other = new_server_id()
    register_server(other, now=NOW)
    opened = open_(alice, server)
    record_changes([change(opened, other, "disconnected", reason="not mine")])
    assert Session.objects.get().state == "connected"
    newer = open_(alice, other)
    record_changes([change(opened, server, "reconnecting", reason="too late")])
    assert Session.objects.get(pk=opened.handle).reason == "taken_over"
    record_changes([change(newer, other, "connected", messages_sent=7)])
    assert Session.objects.get(pk=newer.handle).messages_sent == 7


def test_sessions_of_a_dead_server_are_marked(alice: Principal, server: str) -> None:
    opened = open_(alice, server)
    living = new_server_id()
    register_server(living, now=NOW)
    kept = open_(alice, living, "elsewhere")
    soon = NOW + timedelta(seconds=DEAD_AFTER - 1)
    assert clear_dead_servers(now=soon) == 0
    late = NOW + timedelta(seconds=DEAD_AFTER + 1)
    assert beat(living, now=late)
    assert clear_dead_servers(now=late) == 1
    row = Session.objects.get(pk=opened.handle)
    assert (row.state, row.reason, row.since) == ("reconnecting", "server_lost", late)
    assert Session.objects.get(pk=kept.handle).state == "connected"
    assert clear_dead_servers(now=late) == 0
    assert not beat(server, now=late), "who was taken for dead is told so"
    assert beat(server, now=late)


def test_a_stopped_server_is_no_dead_server(alice: Principal, server: str) -> None:
    opened = open_(alice, server)
    stop_server(server, now=LATER)
    assert Session.objects.get(pk=opened.handle).reason == "server_stopped"
    assert clear_dead_servers(now=LATER + timedelta(hours=1)) == 0
    assert Server.objects.count() == 1
    clear_dead_servers(now=LATER + timedelta(days=8))
    assert not Server.objects.exists()
    assert Session.objects.get().server is None


def test_sessions_end_when_nobody_comes_back(alice: Principal, server: str, settings: Any) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "SESSION": 100}
    opened = open_(alice, server)
    record_changes([change(opened, server, "reconnecting")])
    assert end_unresumed_sessions(now=LATER + timedelta(seconds=99)) == 0
    assert end_unresumed_sessions(now=LATER + timedelta(seconds=101)) == 1
    row = Session.objects.get()
    assert (row.state, row.reason) == ("disconnected", "expired")
    assert row.ended_at is not None


def test_what_ended_lately_is_found_by_its_server(alice: Principal, server: str) -> None:
    first, other = open_(alice, server), open_(alice, server, "other")
    assert ended_lately(server, since=NOW) == {}
    open_(alice, server)
    assert ended_lately(server, since=NOW) == {first.handle: "taken_over"}
    assert other.handle not in ended_lately(server, since=NOW)
    assert ended_lately(server, since=NOW + timedelta(seconds=1)) == {}


def test_long_ended_sessions_are_forgotten_with_what_nobody_wants_any_more(
    alice: Principal, server: str, settings: Any
) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "SESSION": 100}
    for client_id in ("comes back", "never does"):
        add(alice, "a.b", client_id)
        open_(alice, server, client_id)
    Session.objects.update(ended_at=NOW, state="disconnected")
    add(alice, "a.c", "comes back")
    again = open_(alice, server, "comes back")
    assert forget_ended_sessions(now=NOW + timedelta(seconds=99)) == 0
    assert forget_ended_sessions(now=NOW + timedelta(seconds=101)) == 2
    assert Session.objects.get().pk == again.handle
    kept = Subscription.objects.values_list("client_id", "pattern")
    assert set(kept) == {("comes back", "a.b"), ("comes back", "a.c")}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("opening_first", [True, False])
def test_who_opens_while_its_last_session_is_forgotten_is_told_what_it_has(
    alice: Principal, server: str, monkeypatch: pytest.MonkeyPatch, opening_first: bool
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    add(alice, "a.b")
    ended = open_(alice, server)
    Session.objects.filter(pk=ended.handle).update(ended_at=NOW, state="disconnected")
    later = NOW + timedelta(seconds=conf().session + 1)
    opened: list[OpenedSession] = []

    def open_it() -> None:
        try:
            opened.append(open_(alice, server))
        finally:
            connection.close()

    def forget() -> None:
        try:
            forget_ended_sessions(now=later)
        finally:
            connection.close()

    first, second = (open_it, forget) if opening_first else (forget, open_it)
    reading = "_subscriptions" if opening_first else "_forget_subscriptions"
    module = opening if opening_first else sessions
    real, other = getattr(module, reading), threading.Thread(target=second)

    def wait_for_the_other(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)  # nothing is committed yet
        other.start()
        # Either the other waits for our commit, or it is through already.
        deadline = time.monotonic() + 20
        while other.is_alive() and not waits_for_a_lock() and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    monkeypatch.setattr(module, reading, wait_for_the_other)
    first()
    other.join(20)
    assert [row.pattern for row in opened[0].subscriptions] == list(
        Subscription.objects.values_list("pattern", flat=True)
    )
    assert bool(opened[0].subscriptions) is opening_first
    assert [row.pk for row in Session.objects.all()] == [opened[0].handle]


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


# --- Resuming -----------------------------------------------------------------------------------


def test_a_session_goes_on_with_its_secret(alice: Principal, server: str) -> None:
    first = open_(alice, server)
    record_changes([change(first, server, Session.State.RECONNECTING)])
    second = open_(alice, server, resume=first.secret)
    assert second.resumed
    assert (second.handle, second.secret) == (first.handle, first.secret)
    assert (first.connects, second.connects, second.replaced) == (1, 2, None)
    assert Session.objects.get().state == Session.State.CONNECTED


def test_an_open_session_is_taken_over_by_who_resumes_it(alice: Principal, server: str) -> None:
    first = open_(alice, server)
    other = new_server_id()
    register_server(other, now=NOW)
    second = open_(alice, other, resume=first.secret)
    assert second.resumed
    assert second.replaced == first.handle == second.handle
    assert taken_lately(server, since=NOW) == {first.handle: 2}
    assert taken_lately(other, since=NOW) == {}
    # What the older socket reports is not true any more.
    record_changes([change(first, server, Session.State.DISCONNECTED)])
    assert Session.objects.get().state == Session.State.CONNECTED


@pytest.mark.parametrize("secret", ["", "unknown", None])
def test_who_cannot_name_the_session_opens_another(
    alice: Principal, server: str, secret: str | None
) -> None:
    first = open_(alice, server)
    second = open_(alice, server, resume=secret)
    assert not second.resumed
    assert second.replaced == first.handle != second.handle
    assert not open_(alice, server, resume=first.secret).resumed, "it was ended"


def test_another_clients_session_resumes_nothing(alice: Principal, server: str) -> None:
    first = open_(alice, server, "tab")
    assert not open_(alice, server, "another tab", resume=first.secret).resumed
    assert open_(alice, server, "tab", resume=first.secret).resumed


def test_a_session_can_be_resumed_for_so_long(alice: Principal, server: str) -> None:
    first = open_(alice, server)
    record_changes([change(first, server, Session.State.RECONNECTING, since=NOW)])
    window = timedelta(seconds=conf().session)
    late = open_(alice, server, resume=first.secret, now=NOW + window + timedelta(seconds=1))
    assert not late.resumed
    record_changes([change(late, server, Session.State.RECONNECTING, since=NOW)])
    assert open_(alice, server, resume=late.secret, now=NOW + window).resumed


# --- Subscriptions ------------------------------------------------------------------------------


def addition(alice: Principal, pattern: str, client_id: str = "tab") -> Addition:
    return Addition(alice, client_id, pattern, options={}, begin={"3": 9}, epoch="x", at=NOW)


def changed(*changes: Addition | Removal) -> list[Subscription]:
    rows: list[Subscription] = []
    for answer in change_subscriptions(changes):
        if isinstance(answer, NotificationError):
            raise answer
        rows.append(answer)
    return rows


def add(alice: Principal, pattern: str, client_id: str = "tab") -> Subscription:
    return changed(addition(alice, pattern, client_id))[0]


def test_subscriptions_belong_to_a_client(alice: Principal, server: str) -> None:
    row = add(alice, "a.*")
    add(alice, "a.*", "another tab")
    assert open_(alice, server).subscriptions == (row,)
    assert row.begin == {"3": 9}


def test_the_same_pattern_twice(alice: Principal) -> None:
    row = add(alice, "a.*")
    with pytest.raises(AlreadySubscribed) as refused:
        add(alice, "a.*")
    assert refused.value.data == {"subscriptionId": str(row.pk)}


def test_limits_count_per_client(alice: Principal) -> None:
    for number in range(16):
        add(alice, f"p{number}.*")
    with pytest.raises(TooManySubscriptions):
        add(alice, "p16.*")
    for number in range(84):
        add(alice, f"t{number}")
    with pytest.raises(TooManySubscriptions):
        add(alice, "t84")
    add(alice, "t84", "another tab")


def test_removing_needs_an_own_subscription(alice: Principal) -> None:
    mine, others = add(alice, "a.b"), add(alice, "a.b", "another tab")
    for wrong in (str(others.pk), "nonsense", str(NOW)):
        with pytest.raises(UnknownSubscription):
            changed(Removal(alice, "tab", wrong))
    assert changed(Removal(alice, "tab", str(mine.pk)))[0].pattern == "a.b"
    assert list(Subscription.objects.all()) == [others]


def test_verifying_splits_what_is_held_from_what_is_not(alice: Principal) -> None:
    mine, others = str(add(alice, "a.b").pk), str(add(alice, "a.b", "another tab").pk)
    ids = [others, mine, "nonsense"]
    assert verify_subscriptions(alice, client_id="tab", subscription_ids=ids) == (
        [mine],
        [others, "nonsense"],
    )


def test_changes_of_a_batch_are_made_one_after_the_other(alice: Principal) -> None:
    held = add(alice, "a.b")
    begin = [addition(alice, f"t{number}") for number in range(98)]
    batch: list[Addition | Removal] = [
        *begin,
        addition(alice, "t1"),
        Removal(alice, "tab", str(held.pk)),
        addition(alice, "a.b"),
        addition(alice, "a.c"),
        addition(alice, "a.d"),
        addition(alice, "a.d", "another tab"),
        Removal(alice, "another tab", str(held.pk)),
    ]
    answers = change_subscriptions(batch)
    kinds = [type(answer) for answer in answers]
    assert kinds[:98] == [Subscription] * 98
    assert kinds[98:] == [
        AlreadySubscribed,
        Subscription,
        Subscription,
        Subscription,
        TooManySubscriptions,
        Subscription,
        UnknownSubscription,
    ]
    refused, again = answers[98], answers[100]
    assert isinstance(refused, AlreadySubscribed)
    assert isinstance(again, Subscription)
    assert refused.data == {"subscriptionId": str(getattr(answers[1], "pk", None))}
    assert again.pk != held.pk
    kept = Subscription.objects.filter(client_id="tab").values_list("pattern", flat=True)
    assert sorted(kept) == sorted(["a.b", "a.c", *(f"t{number}" for number in range(98))])


@pytest.mark.django_db(transaction=True)
def test_two_servers_that_keep_the_same_subscription_at_once_keep_one(alice: Principal) -> None:
    answers: list[Any] = []

    def serve() -> None:
        try:
            batch = [addition(alice, f"t{number}") for number in range(40)]
            answers.append(change_subscriptions(batch))
        finally:
            connection.close()

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Subscription.objects.count() == 40
    for pair in zip(*answers, strict=True):
        assert sorted(type(one).__name__ for one in pair) == ["AlreadySubscribed", "Subscription"]
        refused, kept = sorted(pair, key=lambda one: type(one).__name__)
        assert refused.data == {"subscriptionId": str(kept.pk)}
