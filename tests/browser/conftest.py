"""A real Chromium for the tests of pages."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.deployment import Deployment

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """The Chromium that is on the PATH, for one test.

    Playwright's synchronous side keeps an event loop running in this thread while it lives, and
    the asynchronous tests need theirs.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"],
        )
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> BrowserContext:
    """A browser whose tabs share their storage, for pages that run the client."""
    return chromium.new_context(bypass_csp=True)  # for what the test evaluates


@pytest.fixture
def key(embedded: Deployment) -> str:
    """A key that publishes what `ada` may subscribe to."""
    return embedded.key


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of its own, which fails the test when a script of ours fails or CSP objects."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            problems.append(message.text)
            if message.type == "error" and "Content Security Policy" in message.text
            else None
        ),
    )
    yield page
    context.close()
    assert problems == []
