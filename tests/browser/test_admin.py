"""The admin in a browser: Django's own pages and ours under our Content-Security-Policy."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.deployment import Deployment

pytestmark = [pytest.mark.server, pytest.mark.browser]

HOSTILE = '<img src="x" onerror="document.title=1">'


def log_in(page: Page, deployment: Deployment) -> str:
    """Make a superuser, start a server, log in; return the admin's address."""
    deployment.env["DJANGO_SUPERUSER_PASSWORD"] = "correct horse"
    deployment.manage("createsuperuser", "--noinput", "--username=root", "--email=r@example.org")
    address = f"{deployment.start().url}/admin/"
    page.goto(address)
    page.fill("#id_username", "root")
    page.fill("#id_password", "correct horse")
    page.click("[type=submit]")
    expect(page).to_have_title(re.compile("What is connected"))
    page.wait_for_load_state()
    return address


def test_every_list_and_a_message_can_be_read(page: Page, embedded: Deployment) -> None:
    payload = f'{{"html": "{HOSTILE.replace(chr(34), chr(39))}"}}'
    embedded.manage("publish", "a.b", payload, "--idempotency-key", HOSTILE)
    address = log_in(page, embedded)
    links = page.locator("#content-main th a").all()
    lists = [f"{address}{(link.get_attribute('href') or '')[len('/admin/') :]}" for link in links]
    assert len([link for link in lists if "/notifications/" in link]) == 12
    for link in lists:
        page.goto(link)
        expect(page.locator("#changelist")).to_be_visible()
    page.goto(f"{address}notifications/message/")
    page.click("#result_list tbody th a")
    shown = page.locator("pre.bw-json").first
    expect(shown).to_contain_text("<img src='x'")
    assert shown.evaluate("element => getComputedStyle(element).whiteSpace") == "pre-wrap"
    assert page.title() != "1"


def test_djangos_own_widgets_work(page: Page, embedded: Deployment) -> None:
    address = log_in(page, embedded)
    page.goto(f"{address}accounts/apikey/add/")
    page.fill("#id_name", "shop")
    page.click(".select2-selection")
    page.click(".select2-results__option:has-text('root')")
    for shortcut in ("Today", "Now"):
        page.click(f".datetimeshortcuts a:has-text('{shortcut}')")
    page.click("text=Add another Topic grant")
    page.fill("#id_topic_grants-0-pattern", "shop.**")
    page.select_option("#id_topic_grants-0-action", "publish")
    page.click("[name=_save]")
    expect(page.locator(".messagelist")).to_contain_text("Copy this key now")
