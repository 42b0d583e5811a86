"""Server-side filters (section 6 of docs/protocol.md): a JSON tree, parsed once, asked often.

::

    tree           =  { operator: operand }     32 nodes in all, 6 levels, 16 KiB of JSON
    eq ne          =  [ path, value ]
    gt gte lt lte  =  [ path, number or text ]
    prefix         =  [ path, text ]
    in             =  [ path, [ value, ... ] ]
    exists         =  path
    not            =  tree
    and or         =  [ tree, ... ]             1 to 16 of them

A path is names joined by dots, the first of them `payload`, `metadata` or `topic`; it leads
through objects only. Where it leads nowhere, or to a value of another type than the operator's,
the operator is false, `ne` too. Numbers are one type whatever their form, and no boolean is one;
text is compared by code points.
"""

import operator
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary

import msgspec

from notifications.errors import BadFrame

MAX_NODES = 32
MAX_DEPTH = 6
MAX_BRANCHES = 16
MAX_BYTES = 16_384
"""Of a tree as JSON; the values that `in` lists are no nodes, and need a bound too."""

ROOTS = ("payload", "metadata", "topic")

ABSENT = object()
"""What a path finds where there is nothing; `null` is something."""

_NUMBERS = (int, float)  # never bool: types are compared, not classes
_LARGEST = 2**53 - 1


class Content(Protocol):
    """What of a message a filter looks at: JSON values, or ABSENT."""

    @property
    def payload(self) -> object: ...
    @property
    def metadata(self) -> object: ...
    @property
    def topic(self) -> object: ...


Test = Callable[[Content], bool]
_Check = Callable[[object], bool]


class Filter:
    """A parsed tree; call it with a message. Equal trees are one object while it is held."""

    __slots__ = ("__weakref__", "_test")

    def __init__(self, test: Test) -> None:
        self._test = test

    def __call__(self, content: Content) -> bool:
        """Tell whether a message passes."""
        return self._test(content)


_held: WeakValueDictionary[bytes, Filter] = WeakValueDictionary()


def parse_filter(tree: object) -> Filter:
    """Return the filter that a tree describes.

    tree: any JSON value. Raises BadFrame, which says what to send.
    """
    text = msgspec.json.encode(tree)
    found = _held.get(text)
    if found is None:
        if len(text) > MAX_BYTES:
            raise BadFrame(f"Send `options.filter` in at most {MAX_BYTES} bytes of JSON.")
        found = _held[text] = Filter(_Parser().node(tree, 1))
    return found


class _Parser:
    """Makes tests of one tree, and counts its nodes."""

    def __init__(self) -> None:
        self._nodes = 0

    def node(self, tree: object, depth: int) -> Test:
        if not isinstance(tree, dict) or len(tree) != 1:
            raise BadFrame("Send each node of `options.filter` as an object with one operator.")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise BadFrame(f"Send `options.filter` with at most {MAX_NODES} nodes.")
        if depth > MAX_DEPTH:
            raise BadFrame(f"Send `options.filter` at most {MAX_DEPTH} levels deep.")
        ((name, operand),) = tree.items()
        match name:
            case "not":
                return _not(self.node(operand, depth + 1))
            case "and" | "or":
                return self._branches(name, operand, depth)
            case "exists":
                read = _reader(operand)
                return lambda content: read(content) is not ABSENT
        make = _CHECKS.get(name)
        if make is None:
            known = ", ".join(sorted([*_CHECKS, "and", "exists", "not", "or"]))
            raise BadFrame(f"Use one of the operators {known} in `options.filter`.")
        if not isinstance(operand, list) or len(operand) != 2:
            raise BadFrame(f"Send `{name}` in `options.filter` as [path, value].")
        return _checking(_reader(operand[0]), make(name, operand[1]))

    def _branches(self, name: str, operand: object, depth: int) -> Test:
        if not isinstance(operand, list) or not 1 <= len(operand) <= MAX_BRANCHES:
            raise BadFrame(f"Send `{name}` in `options.filter` with 1 to {MAX_BRANCHES} trees.")
        tests = [self.node(tree, depth + 1) for tree in operand]
        if name == "and":
            return lambda content: all(test(content) for test in tests)
        return lambda content: any(test(content) for test in tests)


def _not(test: Test) -> Test:
    return lambda content: not test(content)


def _checking(read: Callable[[Content], object], check: _Check) -> Test:
    return lambda content: check(read(content))


def _reader(path: object) -> Callable[[Content], object]:
    """Return what finds the value at a path in a message."""
    names = path.split(".") if isinstance(path, str) else [""]
    if names[0] not in ROOTS or "" in names or any("\0" in name for name in names):
        raise BadFrame(
            "Send each path of `options.filter` as names joined by dots, the first of them "
            f"{', '.join(ROOTS)}."
        )
    root, rest = operator.attrgetter(names[0]), names[1:]

    def read(content: Content) -> object:
        value: object = root(content)
        for name in rest:
            if type(value) is not dict:
                return ABSENT
            value = value.get(name, ABSENT)
        return value

    return read


# --- What an operator makes of the value at its path --------------------------------------------


def _equals(name: str, value: object) -> _Check:
    _require_sound(value)
    if isinstance(value, bool) or value is None:
        return lambda found: found is value
    if isinstance(value, str):
        return lambda found: type(found) is str and found == value
    if isinstance(value, _NUMBERS):
        return lambda found: type(found) in _NUMBERS and found == value
    return lambda found: _same(found, value)


def _differs(name: str, value: object) -> _Check:
    kind, equals = _kind(value), _equals(name, value)
    return lambda found: _kind(found) == kind and not equals(found)


def _compares(name: str, value: object) -> _Check:
    _require_sound(value)
    compare: Callable[[Any, Any], bool] = getattr(operator, _ORDERS[name])
    kinds = (str,) if isinstance(value, str) else _NUMBERS
    if type(value) not in kinds:
        raise BadFrame(f"Send `{name}` in `options.filter` as [path, a number or text].")
    return lambda found: type(found) in kinds and compare(found, value)


def _begins(name: str, value: object) -> _Check:
    _require_sound(value)
    if not isinstance(value, str):
        raise BadFrame(f"Send `{name}` in `options.filter` as [path, text].")
    return lambda found: type(found) is str and found.startswith(value)


def _is_one(name: str, values: object) -> _Check:
    if not isinstance(values, list):
        raise BadFrame(f"Send `{name}` in `options.filter` as [path, [values]].")
    for value in values:
        _require_sound(value)
    texts = frozenset(value for value in values if type(value) is str)
    numbers = frozenset(value for value in values if type(value) in _NUMBERS)
    others = [_equals(name, value) for value in values if type(value) not in (str, *_NUMBERS)]

    def check(found: object) -> bool:
        if type(found) is str:
            return found in texts
        if type(found) in _NUMBERS:
            return found in numbers
        return any(other(found) for other in others)

    return check


_ORDERS = {"gt": "gt", "gte": "ge", "lt": "lt", "lte": "le"}
_CHECKS: dict[str, Callable[[str, object], _Check]] = {
    "eq": _equals,
    "ne": _differs,
    "in": _is_one,
    "prefix": _begins,
    **dict.fromkeys(_ORDERS, _compares),
}


def _require_sound(value: object) -> None:
    """Refuse integers that not every client's JSON holds, and text that PostgreSQL's does not."""
    if type(value) is int and abs(value) > _LARGEST:
        raise BadFrame("Send integers of `options.filter` below 2^53.")
    if type(value) is str and "\0" in value:
        raise BadFrame("Send `options.filter` without U+0000.")
    for inner in _inside(value):
        _require_sound(inner)


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _kind(value: object) -> str:
    """Name the JSON type of a value."""
    return "number" if type(value) in _NUMBERS else type(value).__name__


def _same(one: object, other: object) -> bool:
    """Compare JSON values, in which true is not 1."""
    if _kind(one) != _kind(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other
