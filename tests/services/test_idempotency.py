"""Keys: how long they are kept, and what many publishers with one key get."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from notifications.errors import Conflict
from notifications.log.group_commit import GroupCommit
from notifications.models import IdempotencyKey, Message, TopicPolicy
from notifications.services import publish, publishing
from notifications.services.policies import policies
from notifications.services.writer import writer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh_policies() -> Iterator[None]:
    policies.refresh(max_age=0)
    yield
    policies.refresh(max_age=0)


def test_a_key_is_kept_for_the_window_of_the_policy() -> None:
    TopicPolicy.objects.create(pattern="a.long", idempotency=7 * 86_400)
    policies.refresh(max_age=0)
    days = {}
    for topic in ("a.long", "a.b"):
        publish(topic, 1, idempotency_key=topic)
        row = IdempotencyKey.objects.get(key=topic)
        days[topic] = (row.expires_at - row.published_at).total_seconds() / 86_400
    assert days == {"a.long": 7, "a.b": 1}


def test_the_general_window_is_a_setting(settings: Any) -> None:
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"IDEMPOTENCY": 172_800.0}
    publish("a.b", 1, idempotency_key="k")
    row = IdempotencyKey.objects.get()
    assert row.expires_at - row.published_at == timedelta(days=2)


def test_50_concurrent_publishers_with_one_key_make_one_message() -> None:
    together = Barrier(50)

    def one(number: int) -> Any:
        together.wait(30)
        try:
            # A group commit of its own for every second: as many processes would race.
            body = 1 if number < 49 else 2
            made = publishing._from_values("a.b", body, None, "k", None)
            if number % 10:
                return publishing.appended(writer().append([made])[0])
            other = GroupCommit(lambda _: None)
            try:
                return publishing.appended(other.append([made])[0])
            finally:
                other.close(10)
        except Conflict as conflict:
            return conflict
        finally:
            connection.close()

    publish("a.b", 1, idempotency_key="warm")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    kept = {m.payload: m for m in Message.objects.filter(seq__gt=1)}
    assert len(kept) == 1, "one of the two bodies was first"
    (payload,) = kept
    places = {(a.id, a.seq, a.partition, a.offset) for a in answers if not isinstance(a, Conflict)}
    assert len(places) == 1
    conflicts = sum(isinstance(answer, Conflict) for answer in answers)
    assert conflicts == (1 if payload == "1" else 49)
    assert sum(1 for a in answers if not isinstance(a, Conflict) and not a.duplicate) == 1
