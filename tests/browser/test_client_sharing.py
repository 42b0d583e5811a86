"""One socket per browser, in a real Chromium against a real server."""

import time

import pytest
from playwright.sync_api import BrowserContext, Error, Page

from tests.browser.client_page import (
    PATIENCE,
    Publisher,
    connections,
    handled,
    open_client,
    token_of,
    user,
    wait_connected,
    wait_until,
)
from tests.deployment import Deployment, Server

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.prepared(user("ada"))]

TAKEOVER_SECONDS = 2.0
"""What is promised when a leading tab closes. Of three the quickest is measured, as a machine may
be slow for a moment; that no timer is waited for holds for each."""


@pytest.fixture
def server(embedded: Deployment, key: str) -> Server:
    return embedded.start()


@pytest.fixture
def token(server: Server) -> str:
    return token_of(server, "ada")


def require_connections(server: Server, count: int) -> None:
    wait_until(lambda: connections(server) == count, lambda: f"{connections(server)} sockets")


def test_tabs_share_one_socket_and_outlive_those_that_lead(
    context: BrowserContext, server: Server, token: str, key: str
) -> None:
    leading = [open_client(context, server, auth=token)]
    with Publisher(server, key) as publisher:
        publisher.more(5)
        leading += [open_client(context, server, auth=token) for _ in range(2)]
        last = open_client(context, server, auth=token)
        publisher.more(20)
        require_connections(server, 1)
        assert handled(last, publisher.count)
        for page in [*leading[1:], last]:
            page.evaluate("window.asleep = true")  # no timer fires but those of no delay
        took = [take_over(page, last) for page in leading]
        last.evaluate("wake()")
        publisher.more(20)
    numbers = handled(last, publisher.count)
    assert numbers == list(range(numbers[0], publisher.count + 1))
    assert min(took) < TAKEOVER_SECONDS, took
    assert [event for event in last.evaluate("events") if event["type"] != "recovered"] == []
    require_connections(server, 1)


def take_over(leading: Page, last: Page) -> float:
    """Close the tab that leads; return the seconds until another is connected again."""
    seen = len(last.evaluate("states"))
    closed_at = time.time()
    leading.close()
    last.wait_for_function("seen => states.length >= seen + 3", arg=seen, timeout=PATIENCE * 1000)
    states = last.evaluate("states")[seen:]
    assert [state["status"] for state in states] == ["reconnecting", "connecting", "connected"]
    return float(states[-1]["at"] / 1000 - closed_at)


def test_a_leading_tab_that_crashes_is_followed(
    context: BrowserContext, server: Server, token: str, key: str
) -> None:
    leading = open_client(context, server, auth=token)
    others = [open_client(context, server, auth=token) for _ in range(2)]
    with Publisher(server, key) as publisher:
        publisher.more(10)
        for page in others:
            handled(page, publisher.count)
        crash(leading)
        publisher.more(100)
    for page in others:
        numbers = handled(page, publisher.count)
        assert numbers == list(range(1, publisher.count + 1))
    require_connections(server, 1)


def crash(page: Page) -> None:
    """End the process of a page as a lack of memory would."""
    with page.expect_event("crash"), pytest.raises(Error, match="crash"):
        page.goto("chrome://crash")


@pytest.mark.prepared(user("ada"), user("bob"))
def test_tabs_of_two_users_do_not_share(
    context: BrowserContext, server: Server, token: str, key: str
) -> None:
    tokens = (token, token_of(server, "bob"))
    pages = [open_client(context, server, auth=auth) for auth in tokens]
    require_connections(server, 2)
    with Publisher(server, key) as publisher:
        publisher.more(10)
    for page in pages:
        assert handled(page, publisher.count) == list(range(1, publisher.count + 1))


def test_a_client_that_does_not_want_to_share_has_its_own(
    context: BrowserContext, server: Server, token: str
) -> None:
    for _ in range(2):
        open_client(context, server, auth=token, shared=False)
    require_connections(server, 2)


def test_twenty_tabs_share_one_socket(
    context: BrowserContext, server: Server, token: str, key: str
) -> None:
    pages = [open_client(context, server, auth=token) for _ in range(20)]
    with Publisher(server, key, pause=0.1) as publisher:
        publisher.more(5)
        require_connections(server, 1)
        pages[0].close()
        publisher.more(20)
    for page in pages[1:]:
        wait_connected(page)
        assert handled(page, publisher.count) == list(range(1, publisher.count + 1))
    require_connections(server, 1)
