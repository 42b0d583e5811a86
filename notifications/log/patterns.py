"""Patterns in SQL: which topics some patterns match, and which patterns match a topic.

Both say what notifications.topics.matching says, for tables too large to be matched row by row.
"""

import re
from collections.abc import Iterable
from functools import reduce
from itertools import product
from operator import or_

from django.db.models import Q

from notifications.topics.grammar import MANY, ONE, is_pattern, is_reserved

_ANY = "[^.]+"
# A wildcard in the first segment never matches $sys, the one segment that begins with a dollar.
_ANY_FIRST = "[^.$][^.]*"


def topics_matching(patterns: Iterable[str], *, field: str) -> Q:
    """Return the condition that one of some parsed patterns matches the topic in a field.

    For every pattern there is a prefix, which an index answers; one exact expression for all of
    them is evaluated once for each topic.
    """
    names, prefixes, expressions = [], set[str](), []
    for pattern in patterns:
        if is_pattern(pattern):
            prefixes.add(pattern[: pattern.index(ONE)])
            expressions.append(expression(pattern))
        else:
            names.append(pattern)
    # Without any pattern nothing matches: an empty IN is false.
    found = Q(**{f"{field}__in": names})
    if not expressions:
        return found
    wild = Q(**{f"{field}__regex": "|".join(expressions)})
    if "" not in prefixes:
        wild &= reduce(or_, (Q(**{f"{field}__startswith": prefix}) for prefix in sorted(prefixes)))
    return found | wild


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
