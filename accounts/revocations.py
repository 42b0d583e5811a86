"""What was revoked lately: for whoever keeps connections open that authenticated before."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from accounts.models import ApiKey, TokenFamily


@dataclass(frozen=True, slots=True)
class Revoked:
    """Token families and principals that may do nothing any more."""

    families: frozenset[str]
    principals: frozenset[str]


def revoked_between(start: datetime, end: datetime) -> Revoked:
    """Return the families that were revoked, and the keys that were revoked or expired."""
    families = TokenFamily.objects.filter(revoked_at__gt=start, revoked_at__lte=end)
    keys = ApiKey.objects.filter(
        Q(revoked_at__gt=start, revoked_at__lte=end) | Q(expires_at__gt=start, expires_at__lte=end)
    )
    return Revoked(
        families=frozenset(str(pk) for pk in families.values_list("pk", flat=True)),
        principals=frozenset(key.principal_id for key in keys),
    )
