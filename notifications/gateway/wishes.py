"""What the row of a subscription wants delivered."""

import structlog

from notifications.errors import BadFrame
from notifications.hub.subscriber import Wish
from notifications.models import Subscription
from notifications.recovery.cursor import unnamed
from notifications.topics.filters import Filter, parse_filter
from notifications.topics.handling import window_of

logger = structlog.get_logger(__name__)


def wish_of(row: Subscription, *, epoch: str, partitions: int) -> Wish:
    """Say what a subscription wants delivered."""
    options = row.options
    batch = options.get("batch") or {}
    return Wish(
        id=str(row.pk),
        # In a later life of the log it has been there from the beginning.
        begin=unnamed(row.begin, partitions) if row.epoch == epoch else (),
        max_age=options.get("maxReplayAge"),
        missed=options.get("replayMissed") is not False,
        window=window_of(batch.get("maxSize"), batch.get("maxDelay")),
        filter=_filter_of(row),
    )


def _filter_of(row: Subscription) -> Filter | None:
    tree = row.options.get("filter")
    if tree is None:
        return None
    try:
        return parse_filter(tree)
    except BadFrame as error:
        # It was checked when it came; whoever changed it since must not cost anybody a message.
        logger.warning("a filter is not understood; all is sent", id=row.pk, error=error.message)
        return None
