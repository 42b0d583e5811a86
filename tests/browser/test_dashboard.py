"""The dashboard in a real browser, against a real server."""

import pytest
from playwright.sync_api import Page, expect

from tests.deployment import Deployment, Server

PASSWORD = "correct horse"
ADA = ("create_user", "ada", f"--password={PASSWORD}")

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.prepared(ADA)]


@pytest.fixture
def key(deployment: Deployment) -> str:
    return deployment.key


@pytest.fixture
def server(deployment: Deployment, key: str) -> Server:
    return deployment.start()


def log_in(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#connection-state")).to_have_attribute("data-status", "connected")


def subscribe(page: Page, pattern: str) -> None:
    page.locator("#subscribe-form [name=topic]").fill(pattern)
    page.keyboard.press("Enter")
    expect(page.locator(f"#subscriptions li[data-topic='{pattern}']")).to_be_visible()


def own_topic(page: Page) -> str:
    return page.locator("[data-user-id]").first.get_attribute("data-user-id") or ""


def test_the_main_job(page: Page, deployment: Deployment, server: Server, key: str) -> None:
    """Log in, subscribe, publish, see it; the server dies and comes back."""
    log_in(page, server)
    user = own_topic(page)
    subscribe(page, f"user.{user}.*")

    answer = server.publish(key, f"user.{user}.orders", {"state": "paid"})
    assert answer.status == 201
    row = page.locator(f"#feed [data-message-id='{answer.body['id']}']")
    row.wait_for()
    assert (row.get_attribute("data-topic"), row.get_attribute("data-seq")) == (
        f"user.{user}.orders",
        "1",
    )
    expect(row).to_contain_text("paid")

    state = page.locator("#connection-state")
    server.kill()
    expect(state).to_have_attribute("data-status", "reconnecting", timeout=60_000)
    expect(state).to_contain_text("econnecting")
    again = deployment.start(port=server.port)
    expect(state).to_have_attribute("data-status", "connected", timeout=60_000)
    expect(page.locator(f"#subscriptions li[data-topic='user.{user}.*']")).to_be_visible()
    answer = again.publish(key, f"user.{user}.orders", {"state": "sent"})
    page.locator(f"#feed [data-message-id='{answer.body['id']}']").wait_for()


def test_publish_from_the_page_by_keyboard_alone(page: Page, server: Server) -> None:
    log_in(page, server)
    user = own_topic(page)
    subscribe(page, f"user.{user}.**")
    topic = page.locator("#publish-form [name=topic]")
    topic.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type(f"user.{user}.hello")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type('{"text": "<b>hostile</b>"}')
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    row = page.locator(f"#feed [data-topic='user.{user}.hello']")
    expect(row).to_contain_text("<b>hostile</b>")
    assert row.locator("b").count() == 0
    expect(page.locator("#publish-result")).to_contain_text("1")


def test_errors_are_shown_where_they_happen(page: Page, server: Server) -> None:
    log_in(page, server)
    page.locator("#subscribe-form [name=topic]").fill("somebody.else.*")
    page.keyboard.press("Enter")
    expect(page.locator("#subscribe-form [data-error-for=topic]")).to_contain_text("grant")
    page.locator("#publish-form [name=payload]").fill("{nonsense")
    page.locator("#publish-form [type=submit]").click()
    expect(page.locator("#publish-form [data-error-for=payload]")).not_to_be_empty()


def test_narrow_and_dark_pages_do_not_scroll_sideways(page: Page, server: Server) -> None:
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 800})
    log_in(page, server)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
