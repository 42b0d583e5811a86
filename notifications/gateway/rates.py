"""How often a connection may ask for what costs the server much."""

import asyncio
from math import ceil

from prometheus_client import Counter

from notifications.conf import conf
from notifications.errors import RateLimited
from notifications.resilience.bucket import TokenBucket


def require_rate(
    bucket: TokenBucket | None, *, rate: float, burst: float, refused: Counter, advice: str
) -> TokenBucket | None:
    """Take a token of a connection; return its bucket, made with the first (most never ask).

    rate: tokens a second. burst: so many in a row. Raises RateLimited with the advice, and counts
    it, when there is none. NOTIFICATIONS_RATE_LIMITS=off lifts it.
    """
    if not conf().rate_limits:
        return bucket
    now = asyncio.get_running_loop().time()
    bucket = bucket or TokenBucket(rate, burst, now=now)
    wait = bucket.take(now)
    if wait:
        refused.inc()
        raise RateLimited(advice, retry_after=ceil(wait * 1000))
    return bucket
