"""Subscriptions over REST: who may, what is refused, and what becomes of the rows."""

import uuid
from typing import Any

import pytest

from accounts.models import TopicGrant, User
from notifications.log.read import read_state
from notifications.models import Session, Subscription
from notifications.services import outside_changes
from notifications.services.subscriptions import MAX_PATTERNS, MAX_SUBSCRIPTIONS
from tests.api.conftest import Api, holder
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What servers are told."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(outside_changes, "tell_servers", messages.append)
    return messages


@pytest.fixture
def mine(api: Api, told: list[dict[str, Any]]) -> Session:
    """A session of the ordinary key."""
    return rows.session(api.principal, "mine")


def path(session: Session, subscription_id: object = None) -> str:
    of_session = f"sessions/{session.pk}/subscriptions"
    return of_session if subscription_id is None else f"{of_session}/{subscription_id}"


def code_of(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_from_the_beginning_to_the_end(api: Api, mine: Session, told: list[dict[str, Any]]) -> None:
    assert api.publish("a.b").status_code == 201
    options = {"filter": {"exists": "payload.x"}, "maxReplayAge": 5, "replayMissed": False}
    begun = api.post(path(mine), {"topic": "a.*", "options": options})
    assert begun.status_code == 201
    row = Subscription.objects.get()
    assert (row.principal, row.client_id, row.begun_by) == (api.principal, "mine", api.principal)
    assert row.options == options
    log = read_state()
    assert sum(log.heads) == 1
    assert (row.epoch, row.begin) == (
        log.epoch,
        {str(partition): head for partition, head in enumerate(log.heads)},
    )
    (listed,) = api.get(f"sessions/{mine.pk}").json()["subscriptions"]
    assert begun.json() == listed
    assert (listed["subscriptionId"], listed["topic"]) == (str(row.pk), "a.*")
    assert api.delete(path(mine, listed["subscriptionId"])).status_code == 204
    assert api.get(f"sessions/{mine.pk}").json()["subscriptions"] == []
    mine.refresh_from_db()
    assert mine.subscriptions_changed_at is not None
    assert [set(message) for message in told] == [{"begun", "at"}, {"dropped"}]
    assert (told[0]["begun"], told[1]["dropped"]) == (str(mine.pk), [str(row.pk)])


def test_a_repetition_changes_nothing_and_says_so(
    api: Api, mine: Session, told: list[dict[str, Any]]
) -> None:
    first = api.post(path(mine), {"topic": "a.b"}).json()
    mine.refresh_from_db()
    changed_at = mine.subscriptions_changed_at
    again = api.post(path(mine), {"topic": "a.b"})
    assert code_of(again) == (409, "ALREADY_SUBSCRIBED")
    assert again.json()["data"] == {"subscriptionId": first["subscriptionId"]}
    mine.refresh_from_db()
    assert mine.subscriptions_changed_at == changed_at, "refused, so nothing changed"
    assert len(told) == 1
    assert api.delete(path(mine, first["subscriptionId"])).status_code == 204
    again = api.delete(path(mine, first["subscriptionId"]))
    assert code_of(again) == (404, "UNKNOWN_SUBSCRIPTION")
    assert len(told) == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "BAD_FRAME"),
        ([], 400, "BAD_FRAME"),
        ({"topic": 5}, 400, "BAD_FRAME"),
        ({"topic": "a..b"}, 400, "BAD_TOPIC"),
        ({"topic": "a.b", "options": 5}, 400, "BAD_FRAME"),
        ({"topic": "a.b", "options": {"filter": {"like": ["topic", "a"]}}}, 400, "BAD_FRAME"),
        ({"topic": "a.b", "options": {"maxReplayAge": -1}}, 400, "BAD_FRAME"),
        ({"topic": "a.b", "options": {"batch": {"maxSize": 1000}}}, 400, "BAD_FRAME"),
        # What asks for a replay is the client's own business.
        ({"topic": "a.b", "options": {"since": {"last": 1}}}, 400, "BAD_FRAME"),
        ({"topic": "a.b", "options": {"replayMissed": True}}, 400, "BAD_FRAME"),
        ({"topic": "b.a"}, 403, "FORBIDDEN"),
        ({"topic": "*.b"}, 403, "FORBIDDEN"),
        ({"topic": "$sys.servers"}, 403, "FORBIDDEN"),
    ],
)
def test_what_is_refused_changes_nothing(
    api: Api, mine: Session, told: list[dict[str, Any]], body: Any, status: int, code: str
) -> None:
    assert code_of(api.post(path(mine), body)) == (status, code)
    mine.refresh_from_db()
    assert mine.subscriptions_changed_at is None
    assert not Subscription.objects.exists()
    assert told == []


def test_bodies_are_bounded_and_of_one_kind(api: Api, mine: Session) -> None:
    assert api.post(path(mine), b" " * 100_000).status_code == 413
    assert (
        api.post(path(mine), b"topic=a.b", "application/x-www-form-urlencoded").status_code == 415
    )


def test_null_counts_as_absent(api: Api, mine: Session) -> None:
    options = dict.fromkeys(("replayMissed", "maxReplayAge", "filter", "batch", "since"))
    assert api.post(path(mine), {"topic": "a.b", "options": options}).status_code == 201
    assert api.post(path(mine), {"topic": "a.c", "options": None}).status_code == 201
    assert [row.options for row in Subscription.objects.all()] == [{}, {}]


def test_limits_are_those_of_the_socket(api: Api, mine: Session) -> None:
    for number in range(MAX_PATTERNS):
        assert api.post(path(mine), {"topic": f"a.{number}.*"}).status_code == 201
    refused = api.post(path(mine), {"topic": "a.other.*"})
    assert code_of(refused) == (429, "LIMIT_SUBSCRIPTIONS")
    assert refused["Retry-After"]
    for number in range(MAX_SUBSCRIPTIONS - MAX_PATTERNS):
        rows.subscription(api.principal, f"a.{number}", "mine")
    assert code_of(api.post(path(mine), {"topic": "a.other"})) == (429, "LIMIT_SUBSCRIPTIONS")


@pytest.mark.parametrize("method", ["post", "delete"])
def test_a_foreign_session_is_as_absent_as_any(
    api: Api, admin: Api, told: list[dict[str, Any]], method: str
) -> None:
    hers = rows.session("user:1", "hers")
    held = rows.subscription("user:1", "a.b", "hers")

    def ask(who: Api, handle: object) -> tuple[int, dict[str, Any]]:
        of_session = f"sessions/{handle}/subscriptions"
        answer = (
            who.post(of_session, {"topic": "a.c"})
            if method == "post"
            else who.delete(f"{of_session}/{held.pk}")
        )
        return answer.status_code, answer.json()

    foreign = ask(api, hers.pk)
    assert (foreign[0], foreign[1]["code"]) == (403, "FORBIDDEN")
    assert ask(api, uuid.uuid4()) == ask(api, "nonsense") == foreign
    status, body = ask(admin, uuid.uuid4())
    assert (status, body["code"]) == (404, "NOT_FOUND")
    assert list(Subscription.objects.all()) == [held]
    assert told == []


def test_operators_subscribe_others_to_what_those_may_read(
    admin: Api, told: list[dict[str, Any]]
) -> None:
    ann = rows.user("ann")
    hers = rows.session(f"user:{ann.pk}", "hers", user=ann)
    refused = admin.post(path(hers), {"topic": "a.b"})
    assert code_of(refused) == (403, "FORBIDDEN")
    assert f"user:{ann.pk}" in refused.json()["detail"]
    TopicGrant.objects.create(user=ann, action="subscribe", pattern="a.*")
    begun = admin.post(path(hers), {"topic": "a.b"})
    assert begun.status_code == 201
    row = Subscription.objects.get()
    assert (row.principal, row.user_id, row.begun_by) == (f"user:{ann.pk}", ann.pk, admin.principal)
    assert code_of(admin.post(path(hers), {"topic": "b.b"})) == (403, "FORBIDDEN")
    assert admin.delete(path(hers, row.pk)).status_code == 204
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert code_of(admin.post(path(hers), {"topic": "a.b"})) == (403, "FORBIDDEN")


def test_the_grants_of_a_key_count_as_a_users_do(admin: Api, told: list[dict[str, Any]]) -> None:
    theirs = rows.session(holder("other", "b.**").principal, "theirs")
    assert code_of(admin.post(path(theirs), {"topic": "a.b"})) == (403, "FORBIDDEN")
    assert admin.post(path(theirs), {"topic": "b.a"}).status_code == 201


def test_a_session_that_ended_has_none(api: Api, told: list[dict[str, Any]]) -> None:
    ended = rows.session(api.principal, "mine", ended=True)
    held = rows.subscription(api.principal, "a.b", "mine")
    assert code_of(api.post(path(ended), {"topic": "a.c"})) == (404, "NOT_FOUND")
    assert code_of(api.delete(path(ended, held.pk))) == (404, "UNKNOWN_SUBSCRIPTION")
    assert (list(Subscription.objects.all()), told) == ([held], [])


@pytest.mark.parametrize("subscription_id", ["nonsense", str(uuid.UUID(int=7)), None])
def test_a_subscription_of_another_client_is_unknown(
    api: Api, mine: Session, subscription_id: str | None
) -> None:
    other = rows.subscription(api.principal, "a.b", "another client of mine")
    answer = api.delete(path(mine, subscription_id or other.pk))
    assert code_of(answer) == (404, "UNKNOWN_SUBSCRIPTION")
    assert Subscription.objects.exists()
