"""The log's identity, read once per process."""

from functools import lru_cache

from notifications.log.creation import LogIdentity, read_identity


@lru_cache(maxsize=1)
def log_identity() -> LogIdentity:
    """Return the epoch and the number of partitions; reads the database the first time.

    Raises Log.DoesNotExist before `migrate` has run.
    """
    return read_identity()
