"""Partitions: the same everywhere, spread evenly, and never missed by a pattern."""

from collections import Counter

import pytest

from notifications.topics.matching import matches
from notifications.topics.partitions import partition_of, partitions_of
from tests.topics.alphabet import PATTERNS, TOPICS
from tests.topics.vectors import VECTORS


def crc32(data: bytes) -> int:
    """Compute the checksum bit by bit, as its definition does: the vectors come from this."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0xEDB88320 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("topic", "count", "partition"),
    [(row["topic"], row["count"], row["partition"]) for row in VECTORS["partitions"]],
)
def test_chooses_the_partition_of_the_vectors(topic: str, count: int, partition: int) -> None:
    assert crc32(".".join(topic.split(".")[:2]).encode()) % count == partition
    assert partition_of(topic, count) == partition


@pytest.mark.parametrize(
    ("pattern", "count", "partitions"),
    [(row["pattern"], row["count"], row["partitions"]) for row in VECTORS["partitionsOf"]],
)
def test_finds_the_partitions_of_the_vectors(
    pattern: str, count: int, partitions: list[int]
) -> None:
    assert partitions_of(pattern, count) == tuple(partitions)


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_a_pattern_misses_no_partition_of_what_it_matches(count: int) -> None:
    missed = [
        (pattern, topic)
        for pattern in PATTERNS
        for topic in TOPICS
        if matches(pattern, topic)
        and partition_of(topic, count) not in partitions_of(pattern, count)
    ]
    assert missed == []


def test_one_partition_exactly_where_the_hashed_segments_are_literal() -> None:
    for pattern in PATTERNS:
        literal = not any("*" in segment for segment in pattern.split(".")[:2])
        assert len(partitions_of(pattern, 16)) == (1 if literal else 16), pattern


def test_spreads_numbered_names_evenly() -> None:
    counts = Counter(partition_of(f"user.{number}.orders", 16) for number in range(16_000))
    assert len(counts) == 16
    assert min(counts.values()) > 900
    assert max(counts.values()) < 1_100


@pytest.mark.parametrize("count", [0, -1])
@pytest.mark.parametrize("pattern", ["user.123.orders", "user.*"])
def test_a_log_without_partitions_is_an_error(pattern: str, count: int) -> None:
    with pytest.raises(ValueError, match="at least one partition"):
        partitions_of(pattern, count)
    with pytest.raises(ValueError, match="at least one partition"):
        partition_of(pattern, count)
