"""A token bucket: a rate with room for a burst. No clock: the caller says what time it is."""


class TokenBucket:
    """Tokens that come at a steady rate, up to a bound.

    rate: tokens per second. burst: the most that are there at once; it begins full.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, *, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> float:
        """Take a token; return 0, or the seconds until there is one, when none was taken.

        now: seconds of a clock that never goes back.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0
