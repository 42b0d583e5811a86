"""The pages of the client libraries: their examples run, and each name of the code is on them."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import indent
from threading import Thread

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.deployment import ROOT, Deployment, Server
from tests.examples import Example, read_examples
from tests.packages.building import compile_in, install_client, run
from tests.packages.conversing import make_key

PAGES = sorted((ROOT / "docs" / "clients").glob("*.md"))
READMES = [ROOT / "bellwether_client" / "README.md", ROOT / "notifications/browser/README.md"]
EXAMPLES = [
    example for page in [*PAGES, *READMES] if page.exists() for example in read_examples(page)
]

pytestmark = [pytest.mark.server, pytest.mark.sqlite, pytest.mark.timeout(300)]


def examples(language: str, *, run: bool) -> list[Example]:
    return [one for one in EXAMPLES if one.language == language and (one.is_run or not run)]


def runnable(language: str) -> pytest.MarkDecorator:
    """Run a test for each program of a language."""
    return pytest.mark.parametrize(
        "example", examples(language, run=True), ids=lambda example: example.name
    )


# --- The server that they talk to, and the pages' words for it ----------------------------------


@dataclass
class World:
    """A server with a user and a key, and a web server that serves one folder to browsers."""

    server: Server
    key: str
    pages: Path
    pages_url: str

    def fill_in(self, text: str) -> str:
        """Put this run's addresses and key in the place of the page's."""
        return (
            text.replace("127.0.0.1:8000", f"127.0.0.1:{self.server.port}")
            .replace("http://127.0.0.1:8080", self.pages_url)
            .replace("bw_…", self.key)
        )


@pytest.fixture(scope="module")
def world(
    templates: dict[str, Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder, pages = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("pages")
    ada = ("create_user", "ada", "--password", "password of ada")
    template = Deployment.template("sqlite", templates, folder, ada)
    deployment = Deployment.create("sqlite", folder, template)
    httpd = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(pages))
    )
    Thread(target=httpd.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        server = deployment.start(ALLOWED_ORIGINS=url)
        yield World(server, make_key(deployment), pages, url)
    finally:
        httpd.shutdown()
        httpd.server_close()
        deployment.close()


# --- TypeScript ---------------------------------------------------------------------------------

REACT = """
declare module "react" {
  export function useEffect(effect: () => (() => void) | void, dependencies: unknown[]): void;
  export function useState<T>(initial: T): [T, (next: T | ((before: T) => T)) => void];
}
"""
"""As much of React's types as the page's hook needs; React itself is not installed for it."""


@pytest.fixture(scope="module")
def compiled(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and all TypeScript examples, compiled."""
    folder = tmp_path_factory.mktemp("typescript")
    install_client(tmp_path_factory, folder)
    (folder / "react.d.ts").write_text(REACT)
    for example in examples("ts", run=False):
        ending = "await client.disconnect();\n" if example.is_continued else ""
        text = world.fill_in(f"{example.text}{ending}export {{}};\n")
        (folder / f"{example.name}.ts").write_text(text, encoding="utf-8")
    compile_in(folder, lib=["ES2022", "DOM", "DOM.Iterable"], types=["node"])
    return folder


@runnable("ts")
def test_typescript(example: Example, compiled: Path) -> None:
    printed = run("node", f"{example.name}.js", cwd=compiled)
    assert example.prints(printed), printed


# --- Python -------------------------------------------------------------------------------------


def program(example: Example) -> str:
    """Return an example as a program: what goes on from a setup stands in a coroutine."""
    if not example.is_continued:
        return example.text
    body = indent(f"{example.text}await client.disconnect()\n", "    ")
    return f"import asyncio\n\n\nasync def main() -> None:\n{body}\n\nasyncio.run(main())\n"


@pytest.fixture(scope="module")
def scripts(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all Python examples."""
    folder = tmp_path_factory.mktemp("python")
    for example in examples("python", run=False):
        text = world.fill_in(program(example))
        (folder / f"{example.name}.py").write_text(text, encoding="utf-8")
    return folder


def test_the_python_examples_are_typed(scripts: Path) -> None:
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-incremental")
    run(*mypy, *sorted(scripts.glob("*.py")), cwd=scripts, env={"MYPYPATH": str(ROOT)})


@runnable("python")
def test_python(example: Example, scripts: Path) -> None:
    env = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    printed = run(sys.executable, f"{example.name}.py", cwd=scripts, env=env)
    assert example.prints(printed), printed


# --- Pages for browsers -------------------------------------------------------------------------


@pytest.mark.browser
@runnable("html")
def test_in_a_browser(example: Example, world: World) -> None:
    """The page shows what is published to `user.1.orders`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium is here")
    (world.pages / "index.html").write_text(world.fill_in(example.text), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(world.pages_url)
        expect(page.get_by_text("connected", exact=True)).to_be_visible(timeout=30_000)
        answer = world.server.publish(world.key, "user.1.orders", {"state": "paid"})
        assert answer.status == 201
        expect(page.get_by_text('user.1.orders {"state":"paid"}')).to_be_visible(timeout=30_000)
        browser.close()
