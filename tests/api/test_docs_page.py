"""The pages of the API in a browser: everything comes from here, and nothing is blocked."""

import shutil

import pytest
from playwright.async_api import ConsoleMessage, Request, async_playwright, expect

from tests.deployment import Deployment

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.sqlite]


async def test_the_pages_show_every_operation(embedded: Deployment) -> None:
    server = embedded.start()
    complaints: list[str] = []
    asked: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def note(request: Request) -> None:
        asked.append(request.url)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking"],
        )
        page = await browser.new_page()
        page.on("console", hear)
        page.on("request", note)
        await page.goto(f"{server.url}/api/docs/")
        operations = page.locator(".opblock-summary-path")
        await expect(operations.first).to_be_visible()
        paths = [(await one.inner_text()).replace("\u200b", "") for one in await operations.all()]
        assert "/api/v1/publish" in paths
        assert "/api/v1/sessions/{id}/disconnect" in paths
        assert len(paths) == 23
        await page.locator("#operations-publish-publish").click()
        await expect(page.locator("#operations-publish-publish .responses-table")).to_be_visible()
        await browser.close()
    assert complaints == []
    assert all(url.startswith((server.url, "data:")) for url in asked)
