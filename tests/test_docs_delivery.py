"""docs/delivery.md: every promise has a row, and every test that it names exists."""

import ast
import re

import pytest

from tests.deployment import ROOT

PAGE = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")

PROMISES = [*(f"P{number}" for number in range(1, 11)), "P14", "acknowledged"]

NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def rows() -> dict[str, list[str]]:
    """Return the cells of each promise, by its name."""
    table = PAGE[PAGE.index("| | promise |") :].split("\n\n", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {name: rest for name, *rest in cells[2:]}


def test_every_promise_has_a_row() -> None:
    assert list(rows()) == PROMISES


@pytest.mark.parametrize("name", PROMISES)
def test_every_row_is_whole_and_names_its_proof(name: str) -> None:
    promise, mechanism, limits, proof = rows()[name]
    assert promise
    assert mechanism
    assert limits
    assert re.fullmatch(r"`tests/[\w/]+\.py::\w+`(, `tests/[\w/]+\.py::\w+`)*", proof)


@pytest.mark.parametrize(("path", "function"), NAMED)
def test_every_test_that_is_named_exists(path: str, function: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert function.startswith("test_")
    assert function in functions


def test_no_test_is_named_in_another_form() -> None:
    assert PAGE.count("tests/") == len(re.findall(r"`tests/[\w/]+\.py::\w+`", PAGE))
