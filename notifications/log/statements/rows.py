"""The rows that appending writes and reads; instants are milliseconds since 1970."""

from typing import NamedTuple


class TopicRow(NamedTuple):
    """A topic, and how many messages it gets."""

    name: str
    partition: int
    messages: int


class MessageRow(NamedTuple):
    """A message. expires_at: 0 for never."""

    id: str
    partition: int
    offset: int
    topic_id: int
    seq: int
    payload: str
    metadata: str
    publisher: str
    expires_at: int


class KeyRow(NamedTuple):
    """An idempotency key with the answer that its retries get."""

    publisher: str
    key: str
    digest: bytes
    message_id: str
    topic: str
    seq: int
    partition: int
    offset: int
    expires_at: int


class KnownKey(NamedTuple):
    """The first answer that was given for a key."""

    digest: bytes
    message_id: str
    topic: str
    seq: int
    partition: int
    offset: int
    published_at: int
