"""The operator's pages as they answer: complete, escaped, view-only, without a query per row."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from notifications.admin import pages
from notifications.models import (
    Delivery,
    Log,
    Message,
    Partition,
    PendingPublication,
    Redelivery,
    Session,
    Subscription,
    Topic,
    TopicPolicy,
)
from notifications.services.policies import RULES
from tests.admin.rows import (
    HOSTILE,
    delivery,
    message,
    one_of_each,
    pending,
    redelivery,
    server,
    session,
    subscription,
)

EDITABLE = {TopicPolicy}
MODELS = list(apps.get_app_config("notifications").get_models())
ids = [model.__name__ for model in MODELS]


def url(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:notifications_{model._meta.model_name}_{page}", args=args)


def text_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, address
    return response.content.decode()


def test_every_model_has_its_page() -> None:
    assert [model for model in MODELS if not admin.site.is_registered(model)] == []


def test_the_index_goes_from_what_is_live_to_what_lies_below(admin_client: Client) -> None:
    page = text_of(admin_client, reverse("admin:index"))
    names = ["Sessions", "Subscriptions", "Servers", "Topics", "Messages", "Deliveries"]
    names += ["Redeliveries", "Topic policies"]
    names += ["Pending publications", "Idempotency keys", "Partitions", "Log", "Users", "API keys"]
    places = [page.index(f">{name}</a>") for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_pages_escape_what_strangers_wrote(
    model: type[Model], admin_client: Client, admin_user: User
) -> None:
    one_of_each(admin_user)
    row = model._default_manager.first()
    assert row is not None
    for address in (url(model, "changelist"), url(model, "change", row.pk)):
        page = text_of(admin_client, address)
        assert HOSTILE not in page
        # The Content-Security-Policy would stop these, so nothing may rely on them.
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=\"|<script>", page)


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_lists_ask_the_database_no_more_for_more_rows(
    model: type[Model], admin_client: Client, admin_user: User
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            text_of(admin_client, url(model, "changelist"))
        return len(captured)

    one_of_each(admin_user, "0")
    queries()  # content types and permissions are kept after the first
    few = queries()
    for number in range(1, 6):
        one_of_each(admin_user, str(number))
    assert queries() == few


@pytest.mark.parametrize(
    "model", [m for m in MODELS if m not in EDITABLE], ids=lambda m: m.__name__
)
def test_what_the_system_writes_is_to_look_at(
    model: type[Model], admin_client: Client, admin_user: User
) -> None:
    one_of_each(admin_user)
    row = model._default_manager.first()
    assert row is not None
    assert admin_client.post(url(model, "add")).status_code == 403
    assert admin_client.post(url(model, "change", row.pk)).status_code == 403
    if model is not Subscription:
        assert admin_client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("model", "term", "found"),
    [
        (Message, "", 3),
        (Message, "news", 2),
        (Message, "ews", 0),
        (Message, "01a205b5-8902-73a5-a1e6-000000000002", 1),
        (Message, "01a205b5890273a5a1e6000000000009", 0),
        (Topic, "news.", 2),
        (Session, "phone", 1),
        (Session, "admin", 2),
        (Subscription, "news", 1),
        (Subscription, "key:1", 1),
        (PendingPublication, "left", 1),
    ],
)
def test_search_finds(
    model: type[Model], term: str, found: int, admin_client: Client, admin_user: User
) -> None:
    for number, topic in enumerate(("news.a", "news.b", "shop"), start=1):
        message(number, topic=topic)
    session(admin_user, "phone")
    session(admin_user, "laptop")
    session(None, "till")
    subscription(admin_user, "news.*")
    subscription(None, "shop")
    pending()
    page = text_of(admin_client, f"{url(model, 'changelist')}?q={term}")
    assert len(re.findall(r'<tr><(?:td|th) class="(?:action-checkbox|field-)', page)) == found


def test_a_session_leads_to_its_subscriptions_and_its_server(
    admin_client: Client, admin_user: User
) -> None:
    home = server()
    session(admin_user, "a&b", server=home)
    for pattern in ("x", "y.*"):
        subscription(admin_user, pattern, "a&b")
    subscription(admin_user, "z", "another")
    page = text_of(admin_client, url(Session, "changelist"))
    assert url(type(home), "change", home.pk) in page
    link = re.search(r'<td class="field-subscriptions"><a href="([^"]+)">2</a>', page)
    assert link is not None
    theirs = text_of(admin_client, link.group(1).replace("&amp;", "&"))
    assert ">x</a>" in theirs
    assert ">y.*</a>" in theirs
    assert ">z</a>" not in theirs


@pytest.mark.parametrize(
    ("state", "badge"),
    [
        ("connected", "bw-good"),
        ("connecting", "bw-warn"),
        ("reconnecting", "bw-warn"),
        ("disconnected", "bw-idle"),
    ],
)
def test_states_have_their_colour(
    state: str, badge: str, admin_client: Client, admin_user: User
) -> None:
    session(admin_user, state=state)
    page = text_of(admin_client, url(Session, "changelist"))
    assert re.search(rf'<span class="bw-badge {badge}">{state.title()}</span>', page)
    assert "notifications/admin.css" in page


@pytest.mark.parametrize(("choice", "shown"), [("yes", "open-one"), ("no", "ended-one")])
def test_sessions_are_filtered_by_whether_they_ended(
    choice: str, shown: str, admin_client: Client, admin_user: User
) -> None:
    session(admin_user, "open-one")
    session(admin_user, "ended-one", ended_at=timezone.now())
    page = text_of(admin_client, f"{url(Session, 'changelist')}?open={choice}")
    assert {name for name in ("open-one", "ended-one") if name in page} == {shown}


@pytest.mark.parametrize(
    ("silent_for", "stopped", "badge"),
    [(0, False, "alive"), (11, False, "silent"), (11, True, "stopped")],
)
def test_servers_show_whether_they_live(
    silent_for: int, stopped: bool, badge: str, admin_client: Client, admin_user: User
) -> None:
    seen_at = timezone.now() - timedelta(seconds=silent_for)
    home = server(seen_at=seen_at, stopped_at=seen_at if stopped else None)
    session(admin_user, "one", server=home)
    session(admin_user, "two", server=home, state=Session.State.DISCONNECTED)
    page = text_of(admin_client, url(type(home), "changelist"))
    assert f">{badge}</span>" in page
    link = re.search(r'<td class="field-sessions"><a href="([^"]+)">1</a>', page)
    assert link is not None
    sessions = text_of(admin_client, link.group(1).replace("&amp;", "&"))
    assert ">one<" in sessions
    assert ">two<" not in sessions


def test_a_payload_is_shown_over_several_lines(admin_client: Client) -> None:
    row = message(payload='{"a":[1,2]}')
    page = text_of(admin_client, url(Message, "change", row.pk))
    assert "{\n  &quot;a&quot;: [\n    1,\n    2\n  ]\n}" in page


def test_a_long_payload_is_cut_in_the_list_only(admin_client: Client) -> None:
    row = message(payload='"' + "x" * 5_000 + '"')
    assert "x" * 100 not in text_of(admin_client, url(Message, "changelist"))
    assert "x" * 5_000 in text_of(admin_client, url(Message, "change", row.pk))


def test_a_list_counts_to_its_bound(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "COUNT_BOUND", 3)
    for number in range(1, 6):
        message(number)
    assert "3 messages" in text_of(admin_client, url(Message, "changelist"))


@pytest.mark.django_db(transaction=True)
def test_pending_publications_are_carried_on(admin_client: Client) -> None:
    rows = [pending(f"left.{number}") for number in range(3)]
    done = admin_client.post(
        url(PendingPublication, "changelist"),
        {"action": "carry_on", "_selected_action": [row.pk for row in rows[:2]]},
        follow=True,
    )
    assert "2 appended." in done.content.decode()
    assert set(Message.objects.values_list("topic__name", flat=True)) == {"left.0", "left.1"}
    assert PendingPublication.objects.get().pk == rows[2].pk
    assert LogEntry.objects.filter(change_message="Carried on.").count() == 2


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_carried_on_is_told(admin_client: Client) -> None:
    row = pending(created_at=timezone.now())  # its own process is about to
    done = admin_client.post(
        url(PendingPublication, "changelist"),
        {"action": "carry_on", "_selected_action": [row.pk]},
        follow=True,
    )
    assert "0 appended; 1 of the selected wait on." in done.content.decode()


def delete_on_its_page(client: Client, row: Subscription) -> None:
    client.post(url(Subscription, "delete", row.pk), {"post": "yes"})


def delete_from_the_list(client: Client, row: Subscription) -> None:
    client.post(
        url(Subscription, "changelist"),
        {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"},
    )


@pytest.mark.parametrize("delete", [delete_on_its_page, delete_from_the_list])
def test_subscriptions_are_ended_through_the_service(
    delete: Callable[[Client, Subscription], None],
    admin_client: Client,
    admin_user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[Subscription] = []
    monkeypatch.setattr(
        "notifications.admin.clients.end_subscriptions", lambda rows, now: ended.extend(rows)
    )
    row = subscription(admin_user, "a")
    subscription(admin_user, "b")
    delete(admin_client, row)
    assert ended == [row]
    assert LogEntry.objects.filter(object_repr=str(row)).count() == 1


def test_a_user_with_sessions_can_be_deleted(admin_client: Client) -> None:
    user = User.objects.create(username="gone")
    session(user)
    subscription(user, "a")
    admin_client.post(reverse("admin:accounts_user_delete", args=[user.pk]), {"post": "yes"})
    assert not User.objects.filter(username="gone").exists()
    assert not Session.objects.exists()


def test_a_policy_is_checked_and_saved(admin_client: Client) -> None:
    refused = admin_client.post(url(TopicPolicy, "add"), {"pattern": "a..b"})
    assert "Segment 2 of the pattern is empty" in refused.content.decode()
    admin_client.post(url(TopicPolicy, "add"), {"pattern": "a.*", "ttl": "5400"})
    assert TopicPolicy.objects.get().ttl == 5400
    assert "1:30:00" in text_of(admin_client, url(TopicPolicy, "changelist"))


def test_the_form_of_a_policy_has_every_rule(admin_client: Client) -> None:
    form = admin_client.get(url(TopicPolicy, "add")).content.decode()
    assert [name for name in ("pattern", *RULES) if f'name="{name}"' not in form] == []
    contradiction = {"pattern": "a", "ephemeral": "on", "acknowledged": "on"}
    refused = admin_client.post(url(TopicPolicy, "add"), contradiction)
    assert "switch off one" in refused.content.decode()
    assert not TopicPolicy.objects.exists()


@pytest.fixture
def onlooker(client: Client, db: None) -> Client:
    """Staff with leave to view the outbox and the sessions, and nothing else."""
    user = User.objects.create(username="onlooker", is_staff=True)
    names = ("view_pendingpublication", "view_session")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    return client


def test_an_onlooker_sees_what_it_may_and_does_nothing(onlooker: Client) -> None:
    row = pending()
    page = text_of(onlooker, url(PendingPublication, "changelist"))
    assert "carry_on" not in page
    onlooker.post(
        url(PendingPublication, "changelist"),
        {"action": "carry_on", "_selected_action": [row.pk]},
    )
    assert PendingPublication.objects.exists()
    text_of(onlooker, url(Session, "changelist"))
    for model in (Message, Subscription, Log, Partition):
        assert onlooker.get(url(model, "changelist")).status_code == 403


def test_times_read_as_in_the_logs(admin_client: Client) -> None:
    row = server(started_at=timezone.now().replace(2030, 1, 31, 23, 5, 6))
    assert "2030-01-31 23:05:06" in text_of(admin_client, url(type(row), "change", row.pk))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3),
        ("?q=news", 2),
        ("?q=ews", 0),
        ("?q=01a205b5-8902-73a5-a1e6-000000000002", 1),
        ("?state__exact=pending", 1),
        ("?reason=no_ack", 1),
    ],
)
def test_deliveries_are_found(
    query: str, found: int, admin_client: Client, admin_user: User
) -> None:
    here = session(admin_user, "phone")
    delivery(here, 1, topic="news.a")
    delivery(here, 2, topic="news.b", state=Delivery.State.PENDING, reason="no_ack")
    delivery(here, 3, topic="shop", state=Delivery.State.ACKNOWLEDGED, reason="")
    page = text_of(admin_client, url(Delivery, "changelist") + query)
    assert page.count('<th class="field-in_topic">') == found


def test_a_delivery_leads_to_its_message_and_its_session(
    admin_client: Client, admin_user: User
) -> None:
    here = session(admin_user, "phone")
    row = delivery(here, 1)
    sent = message(1)
    for address in (url(Delivery, "changelist"), url(Delivery, "change", row.pk)):
        page = text_of(admin_client, address)
        assert f'href="{url(Message, "change", sent.pk)}"' in page
        assert f'href="{url(Session, "change", here.pk)}"' in page
        assert "bw-bad" in page


def test_a_session_shows_how_far_its_client_has_come(
    admin_client: Client, admin_user: User
) -> None:
    here = session(admin_user, "phone", acked={"epoch": "x1f", "offsets": {"3": 77}})
    page = text_of(admin_client, url(Session, "change", here.pk))
    assert "x1f" in page
    assert "77" in page


def test_a_wish_for_all_and_one_for_a_session(admin_client: Client, admin_user: User) -> None:
    here = session(admin_user, "phone")
    redelivery(None)
    assert "all subscribers" in text_of(admin_client, url(Redelivery, "changelist"))
    redelivery(here)
    page = text_of(admin_client, url(Redelivery, "changelist"))
    assert f'href="{url(Session, "change", here.pk)}"' in page
