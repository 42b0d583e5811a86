"""What can be documented is documented, and says what the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from config.env import BASE_DIR
from notifications import metrics

DOCS = BASE_DIR / "docs"


def rows(page: str, columns: int) -> list[list[str]]:
    """The rows of a page's tables of so many columns that begin with code."""
    lines = (DOCS / page).read_text().splitlines()
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| `")
    ]
    return [row for row in found if len(row) == columns]


# --- docs/settings.md ---------------------------------------------------------------------------


def calls(path: Path) -> Iterator[tuple[str, Any]]:
    """Every variable that a file of config/ reads, with its default where that is a literal."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (
            isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        ):
            continue
        name = str(node.args[0].value)
        function = ast.unparse(node.func)
        given = [*node.args[1:], *(one.value for one in node.keywords if one.arg == "default")]
        literals = [one.value for one in given if isinstance(one, ast.Constant)]
        default = literals[0] if literals else None
        if function == "seconds":
            yield f"NOTIFICATIONS_{name}_SECONDS", default
        elif function.startswith("env."):
            yield name, default
        elif function == "os.environ.setdefault":
            yield name, None


def read_variables() -> dict[str, Any]:
    """Every variable that config/ reads, and its default or None."""
    found: dict[str, Any] = {}
    for path in sorted((BASE_DIR / "config").rglob("*.py")):
        found |= dict(calls(path))
    return found


def test_the_reader_of_config_finds_variables() -> None:
    found = read_variables()
    assert found["NOTIFICATIONS_FRAME_BYTES"] == 65_536
    assert found["NOTIFICATIONS_AUTH_TIMEOUT_SECONDS"] == 5
    assert {"DJANGO_SETTINGS_MODULE", "DEBUG", "DATABASE_URL", "DATABASE_POOL_SIZE"} <= set(found)
    assert len(found) > 25


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    documented = [row[0].strip("`") for row in rows("settings.md", 3)]
    assert len(documented) == len(set(documented))
    assert set(documented) == set(read_variables())


def test_documented_defaults_are_those_of_the_code() -> None:
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows("settings.md", 3)}
    written = {"True": "on", "False": "off"}
    for name, default in read_variables().items():
        if default is not None:
            assert documented[name] == written.get(str(default), str(default)), name


def test_only_config_env_reads_the_environment() -> None:
    reading = re.compile(r"os\.environ|os\.getenv")
    for root in ("config", "accounts", "notifications"):
        for path in (BASE_DIR / root).rglob("*.py"):
            if "node_modules" in path.parts or path == BASE_DIR / "config" / "env.py":
                continue
            assert not reading.search(path.read_text()), path


# --- docs/metrics.md ----------------------------------------------------------------------------


def measured() -> list[list[str]]:
    """What notifications/metrics.py has, as rows of the page, in its order."""
    found = []
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            kind = type(metric).__name__.lower()
            name = f"{metric._name}_total" if kind == "counter" else metric._name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            found.append([f"`{name}`", kind, labels, metric._documentation.removesuffix(".")])
    return found


def test_every_metric_is_documented() -> None:
    expected = "\n".join(f"| {' | '.join(row)} |" for row in measured())
    assert rows("metrics.md", 4) == measured(), f"docs/metrics.md should have:\n{expected}"


def test_the_page_names_no_other_metric() -> None:
    named = set(re.findall(r"`bellwether_\w+`", (DOCS / "metrics.md").read_text()))
    assert named == {row[0] for row in measured()}


def test_every_metric_has_our_prefix() -> None:
    assert all(row[0].startswith("`bellwether_") for row in measured())
    assert len(measured()) > 20
