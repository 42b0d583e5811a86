"""The embedded default (SQLite, the in-process layer) as its users meet it: commands and pipes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployment import ROOT, Deployment, Server

pytestmark = [pytest.mark.server, pytest.mark.sqlite]


def listen(
    deployment: Deployment, server: Server, pattern: str, count: int
) -> subprocess.Popen[str]:
    """Start `manage.py listen` as in a terminal of its own; wait until it is subscribed."""
    process = subprocess.Popen(
        [
            sys.executable, "manage.py", "listen", pattern,
            "--url", server.socket_url, "--user", "ada",
            "--count", str(count), "--timeout", "120",
        ],
        cwd=ROOT,
        env=deployment.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "isten" in line or "ubscribed" in line:
            return process
    raise AssertionError("listen ended before it was subscribed")


ADA = ("create_user", "ada", "--password=correct horse", "--grant-subscribe=shop.**")


@pytest.mark.prepared(ADA)
def test_two_terminals_of_listen_and_a_thousand_publishes(
    embedded: Deployment, tmp_path: Path
) -> None:
    server = embedded.start()
    terminals = [listen(embedded, server, pattern, 1000) for pattern in ("shop.**", "shop.*.*")]
    for number in range(1000):
        answer = server.publish(embedded.key, f"shop.{number % 5}.orders", number)
        assert answer.status == 201
    for terminal in terminals:
        output, errors = terminal.communicate(timeout=120)
        messages = [json.loads(line) for line in output.splitlines()]
        assert sorted(message["payload"] for message in messages) == list(range(1000)), errors
        for topic in {message["topic"] for message in messages}:
            of_topic = [message for message in messages if message["topic"] == topic]
            assert [message["seq"] for message in of_topic] == list(range(1, 201))
            payloads = [message["payload"] for message in of_topic]
            assert payloads == sorted(payloads)
