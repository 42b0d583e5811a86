"""The retry controller: whether and when to try again, and what failed so far. No I/O."""

from collections import deque
from collections.abc import Callable

from bellwether_client.backoff import backoff_delay, retry_wait
from bellwether_client.breaker import Breaker, Circuit, worse
from bellwether_client.config import CircuitBreakerConfig, RetryConfig
from bellwether_client.down import Down
from bellwether_client.statistics import KEPT_FAILURES, Failure
from bellwether_client.surroundings import Surroundings

STABLE = 5_000.0
"""A connection that lived this many milliseconds was a success: the count of failures begins
anew."""


class RetryController:
    """tokens: the breaker around the token function. connects: that around the attempt to connect,
    from the opening of the socket to `auth_success`. attempt: the number of the retry that is
    waited for or made; 0 at first. health: what the server said of itself last, in (0, 1].
    changed: told when the worse of the breakers is another.
    """

    def __init__(
        self,
        own: RetryConfig | None,
        breaker: CircuitBreakerConfig,
        *,
        surroundings: Surroundings,
        changed: Callable[[Circuit], None],
    ) -> None:
        self.tokens = Breaker(breaker.failure_threshold, breaker.reset_timeout)
        self.connects = Breaker(breaker.failure_threshold, breaker.reset_timeout)
        self.failures: deque[Failure] = deque(maxlen=KEPT_FAILURES)
        self.attempt = 0
        self.health = 1.0
        self._own = own
        self._pushed: RetryConfig | None = None
        self._surroundings = surroundings
        self._changed = changed
        self._told: Circuit = "closed"

    @property
    def circuit(self) -> Circuit:
        """The worse of the two breakers'."""
        return worse(self.tokens.circuit, self.connects.circuit)

    def look(self) -> None:
        """Tell when a breaker has changed."""
        if self.circuit != self._told:
            self._told = self.circuit
            self._changed(self._told)

    def push(self, policy: RetryConfig | None, health: float) -> None:
        """Take the policy that the server pushed, and its health."""
        self._pushed, self.health = policy, health

    def delay(self, attempt: int) -> float:
        """Return the policy's milliseconds before a retry; 0 is the first."""
        random = self._surroundings.random()
        return backoff_delay(attempt, self._policy(), random=random, health=self.health)

    def token_wait(self, attempt: int, retry_after: float | None) -> float:
        """Return the milliseconds before the token function is called again."""
        wait = self.tokens.wait(self._surroundings.elapsed())
        return retry_wait(asked=retry_after, delay=self.delay(attempt), breaker=wait)

    def failed(self, down: Down, *, lived: float) -> float | None:
        """Note a failure; returns the milliseconds to wait, or None when retries are spent.

        lived: milliseconds of the connection that was lost. One that this side dropped is noted,
        and does not count.
        """
        if lived >= STABLE:
            self.attempt = 0
        self.failures.append(
            Failure(
                at=self._surroundings.instant(),
                reason=down.error.reason,
                message=down.error.message,
                attempt=self.attempt,
                close_code=down.error.close_code,
            )
        )
        if not down.is_own:
            self.attempt += 1
        if 0 < self._policy().max_retries < self.attempt:
            return None
        now = self._surroundings.elapsed()
        return retry_wait(
            asked=down.retry_after,
            delay=self.delay(max(0, self.attempt - 1)),
            breaker=max(self.connects.wait(now), self.tokens.wait(now)),
        )

    def _policy(self) -> RetryConfig:
        return self._own or self._pushed or RetryConfig()
