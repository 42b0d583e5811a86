"""What a browser does to a page, and the client lives through: reloads, lost networks, sleep."""

import time

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.client_page import (
    PATIENCE,
    Publisher,
    figure,
    handled,
    open_client,
    token_of,
    user,
    wait_connected,
)
from tests.deployment import Deployment, Server

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.prepared(user("ada"))]

HEARTBEAT = 1.0
"""Seconds between two pings, and as many for the answer: a server closes after three of silence."""


@pytest.fixture
def server(embedded: Deployment, key: str) -> Server:
    return embedded.start(
        NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS=str(HEARTBEAT),
        NOTIFICATIONS_HEARTBEAT_TIMEOUT_SECONDS=str(HEARTBEAT),
    )


def statuses(page: Page) -> list[str]:
    return [state["status"] for state in page.evaluate("states")]


def losses(page: Page) -> list[str]:
    """Return the events that tell of something missed or refused."""
    events = page.evaluate("events")
    return [event["type"] for event in events if event["type"] not in ("recovered", "orphan")]


@pytest.mark.parametrize("shared", [True, False])
def test_a_page_that_reloads_goes_on_where_its_handlers_were(
    context: BrowserContext, server: Server, key: str, *, shared: bool
) -> None:
    page = open_client(context, server, auth=token_of(server, "ada"), shared=shared)
    with Publisher(server, key) as publisher:
        for _ in range(5):
            publisher.more(15)
            page.reload()
            wait_connected(page)
            assert losses(page) == []
        publisher.more(5)
    assert handled(page, publisher.count) == list(range(1, publisher.count + 1))


@pytest.mark.parametrize("shared", [True, False])
def test_a_network_that_goes_and_comes_back(
    context: BrowserContext, server: Server, key: str, *, shared: bool
) -> None:
    pages = [
        open_client(context, server, auth=token_of(server, "ada"), shared=shared) for _ in range(2)
    ]
    with Publisher(server, key) as publisher:
        publisher.more(5)
        context.set_offline(True)
        for page in pages:
            page.wait_for_function("states.at(-1).status !== 'connected'", timeout=PATIENCE * 1000)
        publisher.more(20)
        context.set_offline(False)
        for page in pages:
            wait_connected(page)
        publisher.more(5)
    for page in pages:
        assert handled(page, publisher.count) == list(range(1, publisher.count + 1))
        assert losses(page) == []
        seen = statuses(page)
        assert seen[:3] == ["connecting", "connected", "reconnecting"]
        assert seen[-1] == "connected"


@pytest.mark.parametrize("shared", [True, False])
def test_a_page_whose_timers_stand_still_keeps_its_session(
    context: BrowserContext, server: Server, key: str, *, shared: bool
) -> None:
    """In the background timers hardly fire; the server's own pings are answered all the same.

    Chromium's own throttling needs minutes to begin. Here the page's `setTimeout` holds everything
    back instead, which is worse for the client.
    """
    page = open_client(context, server, auth=token_of(server, "ada"), shared=shared)
    accepted = figure(server, "bellwether_connections_accepted_total")
    page.evaluate("window.asleep = true")
    with Publisher(server, key, pause=0.2) as publisher:
        time.sleep(3 * (2 * HEARTBEAT + HEARTBEAT))  # three times what a silent client is given
        assert page.evaluate("wake()") > 0  # there was something to be late with
        publisher.more(5)
    assert handled(page, publisher.count) == list(range(1, publisher.count + 1))
    assert statuses(page) == ["connecting", "connected"]
    assert figure(server, "bellwether_connections_accepted_total") == accepted
