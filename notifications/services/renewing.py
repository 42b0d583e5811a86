"""Fresh tokens of connections that are open: proven, many at a time.

Tokens that were issued together run out together, so their connections refresh together.
"""

from collections.abc import Sequence

from accounts.authentication import authenticate_all
from accounts.errors import CredentialsError
from accounts.principal import Principal
from notifications import metrics
from notifications.database import DEADLINE
from notifications.errors import NotificationError
from notifications.services.batches import Gathering
from notifications.services.welcoming import refusal_of

RENEWALS_BATCH = 200
"""Tokens that are proven with one query of each kind."""

RENEWALS_BOUND = 10_000
"""Tokens that may wait; a connection asks for one at a time."""


class Renewals(Gathering[str, Principal]):
    """The fresh tokens of one server process that wait.

    Bound: RENEWALS_BOUND. Policy: over it OVERLOADED. Metrics: bellwether_refreshes_waiting,
    bellwether_refresh_batch_size, bellwether_refreshes_refused.
    """

    def __init__(self) -> None:
        super().__init__(
            prove,
            size=RENEWALS_BATCH,
            bound=RENEWALS_BOUND,
            deadline=DEADLINE,
            waiting=metrics.refreshes_waiting,
            batch_size=metrics.refresh_batch_size,
            refused=metrics.refreshes_refused.labels("full"),
        )


def prove(tokens: Sequence[str]) -> list[Principal | NotificationError]:
    """Return who each token or API key proves, with its grants as they are now."""
    proven = authenticate_all(tokens)
    answers = [proven[token] for token in tokens]
    return [refusal_of(one) if isinstance(one, CredentialsError) else one for one in answers]
