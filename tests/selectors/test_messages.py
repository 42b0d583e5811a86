from datetime import timedelta
from typing import Any

import pytest

from notifications.models import Message
from notifications.selectors import messages as selector
from notifications.selectors.messages import list_messages
from tests.selectors import rows

pytestmark = pytest.mark.django_db


def read(**arguments: Any) -> tuple[list[int], int | None]:
    defaults: dict[str, Any] = {
        "topic": "a.b",
        "after": None,
        "before": None,
        "limit": 100,
        "newest_first": False,
        "now": rows.NOW,
    }
    page, following = list_messages(**(defaults | arguments))
    return [row.seq for row in page], following


@pytest.mark.parametrize(
    ("arguments", "found", "following"),
    [
        ({}, [1, 2, 3, 4, 5], None),
        ({"limit": 5}, [1, 2, 3, 4, 5], None),
        ({"limit": 2}, [1, 2], 2),
        ({"limit": 2, "after": 2}, [3, 4], 4),
        ({"limit": 2, "after": 4}, [5], None),
        ({"after": 5}, [], None),
        ({"before": 3}, [1, 2], None),
        ({"after": 1, "before": 4}, [2, 3], None),
        ({"newest_first": True}, [5, 4, 3, 2, 1], None),
        ({"newest_first": True, "limit": 2}, [5, 4], 4),
        ({"newest_first": True, "limit": 2, "before": 4}, [3, 2], 2),
        ({"newest_first": True, "limit": 2, "before": 2}, [1], None),
        ({"topic": "a.c"}, [], None),
    ],
)
def test_pages(arguments: dict[str, Any], found: list[int], following: int | None) -> None:
    rows.messages("a.b", 5)
    assert read(**arguments) == (found, following)


def test_expired_messages_are_left_out_and_do_not_shorten_pages() -> None:
    rows.messages("a.b", 6)
    Message.objects.filter(seq=2).update(expires_at=rows.NOW)
    Message.objects.filter(seq=3).update(expires_at=rows.NOW - timedelta(seconds=1))
    Message.objects.filter(seq=4).update(expires_at=rows.NOW + timedelta(milliseconds=1))
    assert read(limit=3) == ([1, 4, 5], 5)
    assert read(limit=3, after=5) == ([6], None)


def test_a_page_is_bounded_in_bytes_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selector, "PAGE_BYTES", 25)
    rows.messages("a.b", 5, payload='"' + "x" * 8 + '"')
    assert read() == ([1, 2], 2)
    assert read(after=2) == ([3, 4], 4)
    assert read(after=4) == ([5], None)


def test_one_message_above_the_bound_is_still_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selector, "PAGE_BYTES", 5)
    rows.messages("a.b", 2, payload='"' + "x" * 8 + '"')
    assert read() == ([1], 1)
    assert read(after=1) == ([2], None)


def test_what_a_row_carries() -> None:
    [message] = rows.messages("a.b", 1, metadata='{"priority":"high"}')
    [row], _ = list_messages(
        topic="a.b", after=None, before=None, limit=1, newest_first=False, now=rows.NOW
    )
    assert row.id == message.pk
    assert (row.seq, row.partition, row.offset) == (1, 0, 1)
    assert row.published_at == rows.NOW + timedelta(seconds=1)
    assert (row.payload, row.metadata) == ("1", '{"priority":"high"}')


def test_a_page_takes_one_query(django_assert_num_queries: Any) -> None:
    rows.messages("a.b", 500)
    with django_assert_num_queries(1):
        assert read(limit=400)[1] == 400
