"""What a first look needs, and that it can be had twice."""

import json
import shlex
import stat
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.core.management.base import CommandError
from pytest_django import Settings

from accounts.authentication import authenticate_credentials
from accounts.models import ApiKey, User
from accounts.services import log_in
from notifications.management.demo_stories import stories
from notifications.models import Message
from notifications.permissions import may_publish
from tests.commands.calling import call


@pytest.fixture
def kept(tmp_path: Path, settings: Settings) -> Path:
    """Where the demo's secrets go."""
    settings.BASE_DIR = tmp_path
    settings.DEBUG = True
    return tmp_path / "var" / "demo.json"


def prepared() -> tuple[str, str, dict[str, Any]]:
    """Run prepare_demo; return password, API key and body as printed."""
    page, log_in_line, try_line = call("prepare_demo", "--url", "http://x:1/").splitlines()
    assert page.split() == ["Open", "http://x:1/"]
    name, _, password = log_in_line.removeprefix("Log in").split()
    assert name == "demo"
    curl = shlex.split(try_line.removeprefix("Try"))
    assert curl[:2] == ["curl", "http://x:1/api/v1/publish"]
    header = next(part for part in curl if part.startswith("Authorization"))
    return password, header.removeprefix("Authorization: Api-Key "), json.loads(curl[-1])


@pytest.mark.django_db
def test_the_printed_log_in_and_curl_line_work(kept: Path) -> None:
    password, key, body = prepared()
    assert log_in(username="demo", password=password).access
    assert User.objects.get(username="demo").is_superuser
    principal = authenticate_credentials(key)
    assert may_publish(principal, body["topic"])
    assert not principal.is_admin
    assert body["topic"] == f"user.{User.objects.get(username='demo').pk}.orders"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


@pytest.mark.django_db
def test_a_second_start_prints_the_same(kept: Path) -> None:
    assert prepared() == prepared()
    assert ApiKey.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("harm", ["file lost", "file broken", "key revoked", "user changed"])
def test_it_repairs_what_was_harmed_meanwhile(kept: Path, harm: str) -> None:
    prepared()
    match harm:
        case "file lost":
            kept.unlink()
        case "file broken":
            kept.write_text("[")
        case "key revoked":
            ApiKey.objects.all().delete()
        case _:
            User.objects.update(password="!", is_superuser=False)
    password, key, body = prepared()
    assert log_in(username="demo", password=password).access
    assert may_publish(authenticate_credentials(key), body["topic"])
    assert User.objects.get(username="demo").is_superuser
    assert ApiKey.objects.filter(revoked_at=None).count() == 1


@pytest.mark.django_db
def test_it_makes_no_superuser_in_production(kept: Path, settings: Settings) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="DEBUG=1"):
        call("prepare_demo")
    assert not User.objects.exists()
    assert not kept.exists()


@pytest.mark.django_db(transaction=True)
def test_demo_publishes_what_it_prints() -> None:
    call("create_user", "demo", "--password", "x")
    user = User.objects.get(username="demo")
    out = call("demo", "--count", "20", "--rate", "100000", "--seed", "7").splitlines()
    lines = [json.loads(line) for line in out]
    assert len(lines) == Message.objects.count() == 20
    assert all(line["topic"].startswith(f"user.{user.pk}.") for line in lines)
    assert Counter(line["topic"] for line in lines) == Counter(
        Message.objects.values_list("topic__name", flat=True)
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "complaint"), [((), "create_user demo"), (("--rate", "0"), "--rate")]
)
def test_demo_refusals_say_what_is_wrong(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        call("demo", *arguments)


def test_the_same_seed_tells_the_same_stories() -> None:
    def told(seed: int) -> list[object]:
        return list(islice(stories(Random(seed), user_id=1), 50))

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_an_order_moves_forward_only() -> None:
    states = (
        "placed",
        "paid",
        "packed",
        "handed_over",
        "in_transit",
        "out_for_delivery",
        "delivered",
    )
    seen: dict[int, list[str]] = {}
    for story in islice(stories(Random(3), user_id=1), 500):
        if story.topic in ("user.1.orders", "user.1.deliveries"):
            seen.setdefault(story.payload["id"], []).append(story.payload["state"])
    assert len(seen) > 5
    assert all(tuple(order) == states[: len(order)] for order in seen.values())
