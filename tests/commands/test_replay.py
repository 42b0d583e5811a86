"""Reading the history and asking for redelivery from the command line."""

import json
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.test import Client

from notifications.management.commands import history
from notifications.models import Message, Redelivery
from tests.api.conftest import holder
from tests.commands.calling import call
from tests.selectors import rows

pytestmark = pytest.mark.django_db


def seqs(*arguments: str) -> list[int]:
    return [json.loads(line)["seq"] for line in call("history", *arguments).splitlines()]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], [1, 2, 3, 4, 5]),
        (["--limit", "2"], [1, 2]),
        (["--after", "3"], [4, 5]),
        (["--before", "3"], [1, 2]),
        (["--after", "1", "--before", "5", "--limit", "2"], [2, 3]),
        (["--order", "desc"], [5, 4, 3, 2, 1]),
        (["--order", "desc", "--before", "4", "--limit", "2"], [3, 2]),
    ],
)
@pytest.mark.parametrize("page", [1_000, 2])
def test_history_prints_a_range(
    arguments: list[str], found: list[int], page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", page)
    rows.messages("a.b", 5)
    assert seqs("a.b", *arguments) == found


def test_history_says_what_rest_says() -> None:
    rows.messages("a.b", 2, metadata='{"priority":"high"}')
    Message.objects.filter(seq=1).update(payload='{"a":1.0,"b":[1e3]}', metadata="")
    key = holder("reader", "a.**").key
    answer = Client(headers={"Authorization": f"Api-Key {key}"}).get("/api/v1/topics/a.b/messages")
    printed = call("history", "a.b").splitlines()
    assert '{"a":1.0,"b":[1e3]}' in printed[0]
    assert f'{{"messages":[{",".join(printed)}],"next":null}}' == answer.content.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.*"], "BAD_TOPIC"),
        (["a.b", "--limit", "0"], "--limit is 1 or more"),
        (["a.b", "--after", "-1"], "--after is 0 or more"),
    ],
)
def test_history_refuses(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call("history", *arguments)


def test_of_an_unknown_topic_there_is_no_history() -> None:
    assert call("history", "a.b") == ""


@pytest.mark.parametrize(
    ("arguments", "count", "asked"),
    [
        ([], "5", (0, 5)),
        (["--after", "2"], "3", (2, 5)),
        (["--before", "3"], "2", (0, 2)),
        (["--before", "5", "--last", "2"], "2", (2, 4)),
    ],
)
def test_replay_asks_for_a_range(arguments: list[Any], count: str, asked: tuple[int, int]) -> None:
    rows.messages("a.b", 5)
    assert call("replay", "a.b", *arguments).strip() == count
    row = Redelivery.objects.get()
    assert (row.topic, (row.after, row.up_to), row.session) == ("a.b", asked, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["a.c"], "UNKNOWN_TOPIC"), (["a.b", "--last", "0"], "BAD_FRAME"), (["a.*"], "BAD_TOPIC")],
)
def test_replay_refuses(arguments: list[str], words: str) -> None:
    rows.messages("a.b", 1)
    with pytest.raises(CommandError, match=words):
        call("replay", *arguments)
    assert not Redelivery.objects.exists()
