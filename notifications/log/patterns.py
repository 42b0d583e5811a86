"""Patterns in SQL: which topics some patterns match, and which patterns match a topic.

Both say what notifications.topics.matching says, for tables too large to be matched row by row.
"""

import re
from collections.abc import Collection, Iterable
from itertools import product
from typing import Any

from django.db import connection
from django.db.models import CharField, F, Q
from django.db.models.lookups import Exact, StartsWith

from notifications.topics.grammar import MANY, ONE, is_pattern, is_reserved

_ANY = "[^.]+"
# A wildcard in the first segment never matches $sys, the one segment that begins with a dollar.
_ANY_FIRST = "[^.$][^.]*"


@CharField.register_lookup
class Begins(StartsWith):
    """A text begins with the literal part of a pattern, answered by an index.

    On PostgreSQL by LIKE, for which Django gives each unique text an index of its operator class
    (varchar_pattern_ops) beside the plain one, so the database's collation does not matter. SQLite
    has LIKE without regard to case and so without an index, and compares by bytes: there it is a
    range.
    """

    lookup_name = "begins"

    def get_rhs_op(self, connection: Any, rhs: str) -> str:
        """Return the operator with its right side, as for `startswith`."""
        return str(connection.operators["startswith"] % rhs)

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Compare with the prefix, and with the first text after all that begin with it."""
        left, parameters = self.process_lhs(compiler, connection)
        prefix = str(self.rhs)
        beyond = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return f"({left} >= %s AND {left} < %s)", [*parameters, prefix, *parameters, beyond]


def topics_matching(patterns: Iterable[str], *, field: str) -> Q:
    """Return the condition that one of some parsed patterns matches the topic in a field.

    A pattern's literal beginning is looked up in an index; what that finds is compared with one
    exact expression for all patterns that begin so. One that begins with a wildcard is compared
    with every topic.
    """
    names, expressions = [], dict[str, list[str]]()
    for pattern in patterns:
        if is_pattern(pattern):
            expressions.setdefault(literal_beginning(pattern), []).append(expression(pattern))
        else:
            names.append(pattern)
    # Without any pattern nothing matches: an empty IN is false.
    found = Q(**{f"{field}__in": names})
    for beginning, several in sorted(expressions.items()):
        wild = Q(**{f"{field}__regex": "|".join(several)})
        found |= Q(**{f"{field}__begins": beginning}) & wild if beginning else wild
    return found


def literal_beginning(pattern: str) -> str:
    """Return what every topic begins with that a parsed pattern matches; empty for some."""
    return pattern[: pattern.index(ONE)] if is_pattern(pattern) else pattern


def topics_in(partition: int, patterns: Collection[str]) -> Q:
    """Return the condition that a topic lies in a partition and matches one of some patterns."""
    matching = topics_matching(patterns, field="name")
    if connection.vendor == "sqlite" and all(map(literal_beginning, patterns)):
        # Without statistics SQLite takes the partition's index for the better one, and reads
        # every topic there; a sum is in no index.
        return Q(Exact(F("partition_id") + 0, partition)) & matching
    return Q(partition_id=partition) & matching


def expression(pattern: str) -> str:
    """Return the regular expression, for Python and for PostgreSQL, of a parsed pattern."""
    parts = []
    for place, segment in enumerate(pattern.split(".")):
        one = _ANY if place else _ANY_FIRST
        parts.append({ONE: one, MANY: rf"{one}(\.{_ANY})*"}.get(segment, re.escape(segment)))
    return "^" + r"\.".join(parts) + "$"


def patterns_matching(topic: str) -> list[str]:
    """Return every pattern that matches a parsed topic, itself included: fewer than 512.

    An index finds them by equality, which beats matching each stored pattern against the topic.
    """
    segments = topic.split(".")
    choices: list[tuple[str, ...]] = [(segment, ONE) for segment in segments]
    if is_reserved(topic):
        choices[0] = (segments[0],)
    found = [".".join(chosen) for chosen in product(*choices)]
    for length in range(1 if is_reserved(topic) else 0, len(segments)):
        found += [".".join((*chosen, MANY)) for chosen in product(*choices[:length])]
    return found
