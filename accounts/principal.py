"""Who is asking, and what they may do: the one record that every door passes on."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated user or API key with its grants, as read from the database.

    It also stands in for Django's user in REST requests, hence the three class attributes.
    """

    id: str
    """`user:<id>` or `key:<identifier>`: names the principal everywhere, the log included."""
    user_id: int | None
    """None for an API key, also for one with an owner: a key acts for itself."""
    name: str
    is_admin: bool
    """The admin scope: superusers, staff and admin keys."""
    publish: tuple[str, ...]
    """Patterns of topics that it may publish to."""
    subscribe: tuple[str, ...]
    """Patterns that it may subscribe inside of."""
    expires_at: float | None = None
    """Seconds since 1970 at which its access token expires; None for keys and browser sessions."""
    family: str | None = None
    """The token family whose revocation ends it; None where there is none."""

    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> str:
        """Identify the requester where REST framework asks for a user's key."""
        return self.id
