"""Which partition of the log holds a topic.

The partition is CRC-32 (IEEE 802.3, the one of zlib, gzip and PNG) of the topic's first two
segments with the dot between them, as UTF-8, modulo the number of partitions. A topic of one
segment hashes that segment. So all of `user.123.*` lives in one partition. The result is the
same on every platform and in every release: changing it would orphan every stored message.
"""

from zlib import crc32


def partition_of(topic: str, count: int) -> int:
    """Return the partition, 0 to count - 1, that holds the messages of a topic.

    topic: parsed. count: the partitions of the deployment, at least 1.
    Raises ValueError for a smaller count.
    """
    if count < 1:
        raise ValueError(f"a log has at least one partition, not {count}")
    return crc32(_head(topic).encode()) % count


def partitions_of(pattern: str, count: int) -> tuple[int, ...]:
    """Return, ascending, the partitions in which messages that match a pattern may be.

    One when the first two segments are literal or the pattern is a topic of one segment;
    otherwise all, for a wildcard there can stand for any name. `user.**` has all, as its second
    segment is unknown.
    pattern: parsed. count: the partitions of the deployment, at least 1.
    Raises ValueError for a smaller count.
    """
    if "*" not in _head(pattern):
        return (partition_of(pattern, count),)
    if count < 1:
        raise ValueError(f"a log has at least one partition, not {count}")
    return tuple(range(count))


def _head(text: str) -> str:
    """Return the first two segments, or the only one."""
    # Two searches instead of a split: this runs for every publish. Without a first dot the
    # second search starts at 0 and finds none either.
    end = text.find(".", text.find(".") + 1)
    return text if end < 0 else text[:end]
