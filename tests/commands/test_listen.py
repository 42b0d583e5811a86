"""Listening from the command line, over real sockets."""

import json
import subprocess
import sys
from typing import Any

import pytest
from django.core.management.base import CommandError

from tests.commands.calling import call
from tests.deployment import ROOT, Deployment


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("a",), "--user"),
        (("a", "--user", "nobody"), "no user 'nobody'"),
        (("a", "--token", "t", "--count", "0"), "--count"),
        (("a", "--token", "t", "--url", "http://x"), "--url such as ws://"),
    ],
)
def test_refusals_say_what_is_wrong(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        call("listen", *arguments)


def start_listening(deployment: Deployment, *arguments: str) -> subprocess.Popen[str]:
    """Start `listen`, and wait until it is subscribed."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "listen", *arguments],
        cwd=ROOT,
        env=deployment.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("listening to"):
            return process
    raise AssertionError("listen ended before it had subscribed")


ADA = ("create_user", "ada", "--password", "x", "--grant-subscribe", "a.*")
NARROW_KEY = ("create_api_key", "k", "--grant-subscribe", "a")


def lines_of(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.server
@pytest.mark.prepared(ADA)
def test_it_prints_what_is_published_elsewhere(deployment: Deployment) -> None:
    server = deployment.start()
    process = start_listening(
        deployment, "a.*", "--user", "ada", "--url", server.socket_url, "--count", "2"
    )
    sent = [
        json.loads(deployment.manage("publish", topic, payload, "--priority", "high"))
        for topic, payload in (("a.b", '{"n": 1}'), ("elsewhere", "0"), ("a.c", '"ü"'))
    ]
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    received = lines_of(out)
    assert [line["payload"] for line in received] == [{"n": 1}, "ü"]
    assert [line["id"] for line in received] == [sent[0]["id"], sent[2]["id"]]
    assert received[0]["metadata"] == {"priority": "high"}
    assert received[0]["position"] == sent[0]["position"]
    assert deployment.query("SELECT count(*) FROM notifications_subscription") == [(0,)]


@pytest.mark.server
def test_it_says_how_many_came_in_time(embedded: Deployment) -> None:
    server, token = embedded.start(), embedded.key
    process = start_listening(
        embedded,
        *("a", "--token", token, "--url", server.socket_url, "--count", "1", "--timeout", "3"),
    )
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert "0 of 1 messages came within 3 seconds" in error


@pytest.mark.server
@pytest.mark.prepared(NARROW_KEY)
def test_what_may_not_be_read_is_refused(embedded: Deployment) -> None:
    server, token = embedded.start(), embedded.printed[1]
    with pytest.raises(AssertionError, match="FORBIDDEN"):
        embedded.manage("listen", "b", "--token", token, "--url", server.socket_url)
    with pytest.raises(AssertionError, match="4501"):
        embedded.manage("listen", "b", "--token", "nonsense", "--url", server.socket_url)


@pytest.mark.server
def test_it_listens_on_after_a_restart_of_the_server(embedded: Deployment) -> None:
    first, token = embedded.start(), embedded.key
    process = start_listening(
        embedded, "a", "--token", token, "--url", first.socket_url, "--count", "1"
    )
    first.kill()
    embedded.start(port=first.port)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("connected"):
            break
    embedded.manage("publish", "a", "1")
    out, _ = process.communicate(timeout=30)
    assert [line["payload"] for line in lines_of(out)] == [1]
