"""What patterns mean: the specification in code, slow and plain.

Arguments are parsed topics and patterns. The index does the same for many patterns at once and
is tested against this. Limits of length play no part here: two patterns whose only common topics
would be too long to exist still overlap, and `*` never covers `**`, not even as the eighth
segment. Both err on the side of refusing.
"""

from notifications.topics.grammar import MANY, ONE, SYSTEM


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a message of the topic goes to a subscriber of the pattern."""
    wanted, segments = pattern.split("."), topic.split(".")
    if segments[0] == SYSTEM and wanted[0] in (ONE, MANY):
        return False
    if wanted[-1] == MANY:
        # It stands for as many `*` as the topic still needs, and for one at least.
        wanted[-1:] = [ONE] * max(1, len(segments) - len(wanted) + 1)
    return len(wanted) == len(segments) and all(
        want in (ONE, segment) for want, segment in zip(wanted, segments, strict=True)
    )


def covers(granted: str, requested: str) -> bool:
    """Tell whether every topic that `requested` matches is one that `granted` matches.

    This decides what a grant opens: the request must be a subset of one granted pattern.
    """
    # Read as a segment of a topic, `*` equals no literal: only a wildcard matches it, as only a
    # wildcard matches every segment. A last `**` is covered when one such segment and two such
    # segments are: a pattern that matches both lengths ends in `**` and matches all of them.
    if requested.endswith(MANY):
        shortest = requested.removesuffix(MANY) + ONE
        return matches(granted, shortest) and matches(granted, f"{shortest}.{ONE}")
    return matches(granted, requested)


def overlaps(left: str, right: str) -> bool:
    """Tell whether some topic is matched by both; the order of the two does not matter.

    This decides what a deny rule refuses: any request that shares a topic with it.
    """
    lefts, rights = left.split("."), right.split(".")
    if (lefts[0] == SYSTEM) != (rights[0] == SYSTEM):
        return False
    for one, other in zip(lefts, rights, strict=False):
        if MANY in (one, other):
            return True
        if one != other and ONE not in (one, other):
            return False
    return len(lefts) == len(rights)
