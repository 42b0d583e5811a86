"""A page that runs the TypeScript client, and somebody who publishes to it all the time."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Page, TimeoutError

from tests.deployment import Server

TOPIC = "news.all"
PATIENCE = 30.0
"""Seconds that a test waits for what must come; how long it takes is measured apart."""

PAGE = "/healthz"
"""A page of the server that runs no script of its own. One that the test makes up would count as
foreign to the server's network, and could open no socket to it."""

# What was handled is kept as the client's cursor is: in the tab's storage, which outlives a reload.
SCRIPT = """
// While `asleep` no timer fires that waits for anything, as in a page long in the background.
const begin = setTimeout, end = clearTimeout, late = new Map();
window.setTimeout = (run, delay) => {
  const id = begin(() => window.asleep && delay > 0 ? late.set(id, run) : run(), delay);
  return id;
};
window.clearTimeout = (id) => { late.delete(id); end(id); };
window.wake = () => {
  window.asleep = false;
  const due = [...late.values()];
  late.clear();
  for (const run of due) run();
  return due.length;
};
const run = async () => {
  const { createNotificationClient } = await import("/static/notifications/client.js");
  const { topic, ...config } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  const handled = JSON.parse(sessionStorage.getItem("handled") ?? "[]");
  const client = createNotificationClient({
    url: `ws://${location.host}/ws`,
    // It spares no server but the test's, so it comes back soon.
    retryConfig: {
      maxRetries: 0, initialDelay: 100, maxDelay: 500, backoffMultiplier: 2, jitter: false,
    },
    ...config,
  });
  Object.assign(window, { client, handled, states: [], events: [] });
  client.onStateChange(({ status }) => states.push({ status, at: Date.now() }));
  client.onEvent(({ type, reason, error }) => events.push({ type, reason, error: String(error) }));
  const subscription = client.subscribe(topic, ({ payload }) => {
    handled.push(payload.n);
    sessionStorage.setItem("handled", JSON.stringify(handled));
  });
  subscription.ready.then(() => { window.ready = true; });
  client.connect().catch((error) => events.push({ type: "rejected", error: String(error) }));
};
if (location.hash) addEventListener("DOMContentLoaded", run);
"""


PASSWORD = "correct horse"


def user(name: str) -> tuple[str, ...]:
    """Return the command that makes a user who may subscribe to what is published here."""
    return "create_user", name, f"--password={PASSWORD}", f"--grant-subscribe={TOPIC}"


def token_of(server: Server, name: str) -> str:
    """Get an access token as a page would."""
    body = {"username": name, "password": PASSWORD}
    return str(server.request("POST", "/api/v1/auth/token", body).body["access"])


def open_client(context: BrowserContext, server: Server, **config: Any) -> Page:
    """Open a tab whose client is connected and subscribed."""
    page = context.new_page()
    page.add_init_script(SCRIPT)
    page.goto(f"{server.url}{PAGE}#{quote(json.dumps({'topic': TOPIC, **config}))}")
    wait_connected(page)
    return page


def wait_connected(page: Page) -> None:
    """Wait until the client of a tab is connected and its subscription confirmed."""
    connected = "window.ready && client.getConnectionState().status === 'connected'"
    try:
        page.wait_for_function(connected, timeout=PATIENCE * 1000)
    except TimeoutError as error:
        told = page.evaluate("[window.states, window.events, window.client?.getStats()]")
        raise AssertionError(told) from error


def wait_until(what: Callable[[], bool], failing: Callable[[], object]) -> None:
    """Wait for a thing that the server must come to say."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, failing()
        time.sleep(0.05)


def handled(page: Page, last: int) -> list[int]:
    """Wait until a tab has handled a message; return the numbers of all that it has."""
    page.wait_for_function("last => handled.at(-1) >= last", arg=last, timeout=PATIENCE * 1000)
    return list(page.evaluate("handled"))


def connections(server: Server) -> int:
    """Return how many sockets the server counts."""
    return int(figure(server, "bellwether_connections"))


def figure(server: Server, name: str) -> float:
    """Return a figure of /metrics that has no labels."""
    text = server.request("GET", "/metrics").body
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"{name} is not told"
    return float(found[1])


@dataclass
class Publisher:
    """Publishes 1, 2, 3 … in a thread of its own until the test leaves it."""

    server: Server
    key: str
    pause: float = 0.02
    topic: str = TOPIC
    count: int = 0
    problems: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        assert self.problems == []

    def more(self, count: int) -> None:
        """Wait until so many more have been published."""
        wanted = self.count + count
        wait_until(lambda: self.count >= wanted, lambda: f"{self.count} published")

    def _run(self) -> None:
        while not self._stop.wait(self.pause):
            answer = self.server.publish(self.key, self.topic, {"n": self.count + 1})
            if answer.status != 201:
                self.problems.append(f"{answer.status}: {answer.body}")
                return
            self.count += 1
