"""Filters: by hand-written rows, and against another reading of the same trees."""

import gc
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.errors import BadFrame
from notifications.topics.filters import ABSENT, parse_filter

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "filters.json").read_text(encoding="utf-8")
)
MESSAGES = {
    name: SimpleNamespace(**{"metadata": ABSENT, **message})
    for name, message in VECTORS["messages"].items()
}

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", 1.5])
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("ab"), scalars)
paths = st.sampled_from(["payload", "payload.a", "payload.a.b", "payload.c", "topic", "metadata.a"])
ordered = st.integers(-3, 3) | st.sampled_from(["", "a", "b", 1.5])
leaves = st.one_of(
    st.builds(lambda op, *two: {op: list(two)}, st.sampled_from(["eq", "ne"]), paths, values),
    st.builds(
        lambda op, *two: {op: list(two)},
        st.sampled_from(["gt", "gte", "lt", "lte"]),
        paths,
        ordered,
    ),
    st.builds(lambda *two: {"prefix": list(two)}, paths, st.sampled_from(["", "a"])),
    st.builds(lambda *two: {"in": list(two)}, paths, st.lists(values, max_size=3)),
    st.builds(lambda path: {"exists": path}, paths),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda tree: {"not": tree}, inner),
        st.builds(
            lambda op, some: {op: some},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=6,
)
payloads = values | st.dictionaries(st.sampled_from("abc"), values)


@pytest.mark.parametrize("row", VECTORS["verdicts"], ids=lambda row: json.dumps(row["tree"])[:60])
def test_the_verdicts_of_the_vectors(row: Any) -> None:
    assert parse_filter(row["tree"])(MESSAGES[row["message"]]) is row["verdict"]


@pytest.mark.parametrize("row", VECTORS["bad"], ids=lambda row: row["note"])
def test_bad_trees_are_refused(row: Any) -> None:
    with pytest.raises(BadFrame) as refused:
        parse_filter(row["tree"])
    assert refused.value.message.endswith(".")


def test_text_that_looks_like_an_escape_is_text() -> None:
    tree = {"eq": ["payload.a", "\\u0000"]}
    assert parse_filter(tree)(SimpleNamespace(payload={"a": "\\u0000"}))


def test_equal_trees_are_one_filter_while_they_are_held() -> None:
    one, other = parse_filter({"exists": "payload.a"}), parse_filter({"exists": "payload.a"})
    assert one is other
    assert parse_filter({"exists": "payload.b"}) is not one
    from notifications.topics import filters

    del one, other
    gc.collect()
    assert b'{"exists":"payload.a"}' not in filters._held


# --- Another reading ----------------------------------------------------------------------------


def typed(value: Any) -> str:
    """Write a value so that equal text means equal value."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, int | float):
        return str(float(value))
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    members = [f"{json.dumps(key)}:{typed(value[key])}" for key in sorted(value)]
    return f"{{{','.join(members)}}}"


def kind(value: Any) -> str:
    return "n" if typed(value)[0] in "-0123456789" else typed(value)[0]


def found(message: dict[str, Any], path: str) -> list[Any]:
    """Return the value at a path in a list, or an empty one."""
    value: Any = message
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return []
        value = value[name]
    return [value]


def passes(tree: dict[str, Any], message: dict[str, Any]) -> bool:
    ((name, operand),) = tree.items()
    if name in ("and", "or"):
        verdicts = [passes(one, message) for one in operand]
        return all(verdicts) if name == "and" else any(verdicts)
    if name == "not":
        return not passes(operand, message)
    if name == "exists":
        return bool(found(message, operand))
    there, wanted = found(message, operand[0]), operand[1]
    if not there:
        return False
    if name == "in":
        return typed(there[0]) in [typed(one) for one in wanted]
    boolean = isinstance(there[0], bool) != isinstance(wanted, bool)
    null = (there[0] is None) != (wanted is None)
    if boolean or null or (kind(there[0]) != kind(wanted) and not isinstance(wanted, bool)):
        return False
    if name in ("eq", "ne"):
        return (typed(there[0]) == typed(wanted)) is (name == "eq")
    if name == "prefix":
        return str(there[0]).startswith(wanted)
    orders: dict[str, bool] = {
        "gt": there[0] > wanted,
        "gte": there[0] >= wanted,
        "lt": there[0] < wanted,
        "lte": there[0] <= wanted,
    }
    return orders[name]


@given(tree=trees, payload=payloads)
def test_verdicts_are_those_of_another_reading(tree: dict[str, Any], payload: Any) -> None:
    message = {"payload": payload, "topic": "a", "metadata": {"a": "b"}}
    try:
        test = parse_filter(tree)
    except BadFrame:
        return  # too deep
    assert test(SimpleNamespace(**message)) is passes(tree, message)


anything = st.recursive(
    scalars | paths,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["eq", "in", "not", "and", "exists", "gt", "x"]), inner)
    ),
    max_leaves=8,
)


@given(tree=anything, payload=payloads)
def test_whatever_is_sent_is_a_filter_or_refused(tree: Any, payload: Any) -> None:
    try:
        test = parse_filter(tree)
    except BadFrame:
        return
    assert test(SimpleNamespace(payload=payload, topic="a", metadata=ABSENT)) in (True, False)
