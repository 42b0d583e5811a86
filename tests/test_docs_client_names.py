"""The pages of the client libraries name all that the code exports, takes and tells."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import bellwether_client
from tests.deployment import ROOT

PAGES = ROOT / "docs" / "clients"
SOURCE = ROOT / "notifications" / "browser" / "src" / "client"


def named_on(page: str) -> set[str]:
    """Return the words that stand in code marks in a page's prose and tables."""
    text = (PAGES / page).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return {
        word for code in re.findall(r"`([^`\n]+)`", prose) for word in re.findall(r"[\w-]+", code)
    }


# --- Links --------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made of their words."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (PAGES / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (PAGES / name).resolve() if name else PAGES / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# --- TypeScript ---------------------------------------------------------------------------------


def exports() -> set[str]:
    """Return the names that the package exports."""
    index = (SOURCE / "index.ts").read_text(encoding="utf-8")
    lists = re.findall(r"^export (?:type )?\{([^}]+)\}", index, re.MULTILINE)
    alone = re.findall(
        r"^export (?:function|const|class|interface|type) (\w+)", index, re.MULTILINE
    )
    return {name.strip() for names in lists for name in names.split(",") if name.strip()} | set(
        alone
    )


def declarations() -> dict[str, str]:
    """Return the body of each exported interface, class and type, without comments."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.ts")))
    text = re.sub(r"/\*\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    interfaces = re.findall(
        r"^export (?:interface|class) (\w+)[^{]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL
    )
    types = re.findall(r"^export type (\w+)[^=]*=(.*?);$", text, re.MULTILINE | re.DOTALL)
    return dict(interfaces) | dict(types)


def members(body: str) -> Iterator[str]:
    """Yield the fields, methods and literals of a declaration."""
    yield from re.findall(r"(?:^  |[{;] )(?:readonly )?(\w+)\??[:(<]", body, re.MULTILINE)
    yield from re.findall(r'"([\w-]+)"', body)


MAKING = {"constructor", "details", "super", "name"}
"""What a class declares for the client that makes one."""


def test_the_reader_of_declarations_finds_members() -> None:
    found = declarations()
    assert {"url", "auth", "queueConfig", "debug"} <= set(
        members(found["NotificationClientConfig"])
    )
    assert {"type", "gap", "recovered", "reason", "orphan"} <= set(members(found["ClientEvent"]))
    assert {"connect", "subscribe", "getStats"} <= set(members(found["NotificationClient"]))
    assert {"code", "retryAfter"} <= set(members(found["NotificationError"]))
    assert {"drop-newest", "maxAge"} <= set(members(found["QueueConfig"]))


@pytest.mark.parametrize("name", sorted(exports()))
def test_typescript(name: str) -> None:
    named = named_on("typescript.md")
    assert name in named
    assert set(members(declarations().get(name, ""))) - named - MAKING == set(), name


# --- Python -------------------------------------------------------------------------------------


def literals(value: Any) -> Iterator[str]:
    """Yield the texts of a Literal, also within a union."""
    for one in get_args(value):
        if isinstance(one, str):
            yield one
        else:
            yield from literals(one)


def names_of(exported: Any) -> Iterator[str]:
    """Yield what an application writes or reads of an exported name."""
    if dataclasses.is_dataclass(exported):
        for field in dataclasses.fields(exported):
            yield field.name
            yield from literals(field.type)
    if inspect.isclass(exported):
        yield from (name for name in vars(exported) if not name.startswith("_"))
    yield from literals(exported)


INSIDE = {"to_wire", "take", "is_open"}
"""Methods of exported classes that the client itself calls."""


def test_the_reader_of_classes_finds_names() -> None:
    assert {"url", "queue_config"} <= set(names_of(bellwether_client.NotificationClientConfig))
    assert {"type", "gap", "reason"} <= set(names_of(bellwether_client.Gap))
    assert {"connect", "stream"} <= set(names_of(bellwether_client.NotificationClient))
    assert "drop-newest" in set(names_of(bellwether_client.QueueConfig))


@pytest.mark.parametrize("name", sorted(bellwether_client.__all__))
def test_python(name: str) -> None:
    named = named_on("python.md")
    assert name in named
    assert set(names_of(getattr(bellwether_client, name))) - named - INSIDE == set(), name
