"""Which subscribers a message goes to: a dictionary of topics and a trie of patterns.

Matching runs once per message, so its cost depends on the topic and not on the number of
subscriptions: one look-up for all who named the topic itself, and a walk down the trie for those
who named a pattern. At each level the walk goes on by the literal segment and by `*`: it visits
fewer than 2^(depth + 1) nodes, depth being the topic's segments, at most eight.
"""

from collections.abc import Collection, Hashable
from typing import Generic, TypeAlias, TypeVar

from notifications.topics.grammar import MANY, ONE, is_pattern, is_reserved

S = TypeVar("S", bound=Hashable)

# Most topics have one subscriber, such as the user they are about. A tuple of one takes 48 bytes
# where a set takes 216, in each of what may be a million places. Several are kept in a set.
_Subscribers: TypeAlias = tuple[S, ...] | set[S]


class TopicIndex(Generic[S]):
    """The subscribers of many patterns, found by topic.

    Subscribers are hashable and told apart by equality. Patterns and topics are parsed before
    they come here. For one thread: nothing is locked. It holds what is added until it is removed;
    its bound is the subscriptions that admission lets in.
    """

    __slots__ = ("_nodes", "_pairs", "_root", "_system", "_topics")

    def __init__(self) -> None:
        self._topics: dict[str, _Subscribers[S]] = {}
        # Patterns that begin with `$sys` have a root of their own, so that a wildcard in the
        # first segment needs no exception while matching.
        self._root: _Node[S] = _Node()
        self._system: _Node[S] = _Node()
        self._nodes = 0
        self._pairs = 0

    def __len__(self) -> int:
        """Return the number of (pattern, subscriber) pairs."""
        return self._pairs

    @property
    def nodes(self) -> int:
        """The topics and the nodes below the roots that are in memory; 0 when nobody is left."""
        return len(self._topics) + self._nodes

    def add(self, pattern: str, subscriber: S) -> bool:
        """Subscribe to a topic or pattern; return False when that is so already."""
        if is_pattern(pattern):
            added = self._add_pattern(pattern, subscriber)
        else:
            added = self._add_topic(pattern, subscriber)
        self._pairs += added
        return added

    def remove(self, pattern: str, subscriber: S) -> bool:
        """Take back what `add` did; return False when there is nothing to take back."""
        if is_pattern(pattern):
            removed = self._remove_pattern(pattern, subscriber)
        else:
            removed = self._remove_topic(pattern, subscriber)
        self._pairs -= removed
        return removed

    def match(self, topic: str) -> Collection[S]:
        """Return the subscribers of all patterns that match a topic, each once, in no order.

        Read it at once: do not change it, and do not keep it. It may be the index's own set,
        which the next `add` or `remove` changes. Whoever may cause one of these while iterating
        iterates over a copy.
        """
        literal = self._topics.get(topic)
        found = [] if literal is None else [literal]
        level = [self._system if is_reserved(topic) else self._root]
        # Attributes are read in place: calls and generators would cost more than the look-ups.
        for segment in topic.split("."):
            below = []
            for node in level:
                if node.beyond is not None:
                    found.append(node.beyond)
                if node.one is not None:
                    below.append(node.one)
                if node.children is not None and (child := node.children.get(segment)) is not None:
                    below.append(child)
            if not below:
                break
            level = below
        else:
            for node in level:
                if node.here is not None:
                    found.append(node.here)
        if not found:
            return ()
        # The common case: one place holds them all, and nothing needs to be built.
        return found[0] if len(found) == 1 else set().union(*found)

    def _add_topic(self, topic: str, subscriber: S) -> bool:
        held = self._topics.get(topic)
        if held is not None and subscriber in held:
            return False
        self._topics[topic] = _with(held, subscriber)
        return True

    def _remove_topic(self, topic: str, subscriber: S) -> bool:
        held = self._topics.get(topic)
        if held is None or subscriber not in held:
            return False
        left = _without(held, subscriber)
        if left is None:
            del self._topics[topic]
        else:
            self._topics[topic] = left
        return True

    def _add_pattern(self, pattern: str, subscriber: S) -> bool:
        node = self._system if is_reserved(pattern) else self._root
        segments, many = _steps(pattern)
        for segment in segments:
            below = node.below(segment)
            if below is None:
                below = node.attach(segment)
                self._nodes += 1
            node = below
        held = node.held(many)
        if held is not None and subscriber in held:
            return False
        node.hold(many, _with(held, subscriber))
        return True

    def _remove_pattern(self, pattern: str, subscriber: S) -> bool:
        node = self._system if is_reserved(pattern) else self._root
        segments, many = _steps(pattern)
        parents = []
        for segment in segments:
            below = node.below(segment)
            if below is None:
                return False
            parents.append((node, segment))
            node = below
        held = node.held(many)
        if held is None or subscriber not in held:
            return False
        node.hold(many, _without(held, subscriber))
        for parent, segment in reversed(parents):
            if not node.is_empty():
                break
            parent.detach(segment)
            self._nodes -= 1
            node = parent
        return True


class _Node(Generic[S]):
    """A segment that patterns share. What is absent is None: most nodes have one of the four."""

    __slots__ = ("beyond", "children", "here", "one")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] | None = None
        """The nodes below by literal segment; never an empty dictionary."""
        self.one: _Node[S] | None = None
        """The node below for `*`."""
        self.here: _Subscribers[S] | None = None
        """The subscribers of the pattern that ends here; never empty."""
        self.beyond: _Subscribers[S] | None = None
        """The subscribers of the pattern that ends in `**` after this segment; never empty."""

    def below(self, segment: str) -> "_Node[S] | None":
        if segment == ONE:
            return self.one
        return None if self.children is None else self.children.get(segment)

    def attach(self, segment: str) -> "_Node[S]":
        node: _Node[S] = _Node()
        if segment == ONE:
            self.one = node
        elif self.children is None:
            self.children = {segment: node}
        else:
            self.children[segment] = node
        return node

    def detach(self, segment: str) -> None:
        if segment == ONE:
            self.one = None
        elif self.children is not None and len(self.children) > 1:
            del self.children[segment]
        else:
            # A dictionary that was large stays large when it empties; this lets it go.
            self.children = None

    def held(self, many: bool) -> _Subscribers[S] | None:
        return self.beyond if many else self.here

    def hold(self, many: bool, subscribers: _Subscribers[S] | None) -> None:
        if many:
            self.beyond = subscribers
        else:
            self.here = subscribers

    def is_empty(self) -> bool:
        return not (self.here or self.beyond or self.children or self.one)


def _steps(pattern: str) -> tuple[list[str], bool]:
    """Split a pattern into the segments to walk, and whether a `**` follows them."""
    segments = pattern.split(".")
    many = segments[-1] == MANY
    return segments[:-1] if many else segments, many


def _with(held: _Subscribers[S] | None, subscriber: S) -> _Subscribers[S]:
    if held is None:
        return (subscriber,)
    if isinstance(held, tuple):
        return {*held, subscriber}
    held.add(subscriber)
    return held


def _without(held: _Subscribers[S], subscriber: S) -> _Subscribers[S] | None:
    """Return what is left of those who hold the subscriber; None instead of nobody."""
    if isinstance(held, tuple):
        return None
    held.remove(subscriber)
    return held if len(held) > 1 else tuple(held)
