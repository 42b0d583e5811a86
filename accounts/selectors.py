"""Reads of who may do what. Each is one query, whatever the number of grants.

The two that every connect and every request of a program go through are written in SQL: the ORM
spends 0.3 to 0.5 ms of CPU on building such a query and its rows, fifteen times what the database
driver needs, and a thousand clients that reconnect at once pay it a thousand times.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import DateTimeField, UUIDField

from accounts.models import TopicGrant, User
from accounts.principal import Principal

EVERYTHING = "**"

Grants = Iterable[tuple[str | None, str | None]]
"""Pairs (action, pattern); (None, None) where the join found no grant."""

# One row per grant repeats the holder; that is cheaper than a second round trip.
_USER = """
    SELECT holder.username, holder.is_staff, holder.is_superuser, held.action, held.pattern
    FROM accounts_user holder
    LEFT JOIN accounts_topicgrant held ON held.user_id = holder.id
    WHERE holder.id = %s AND holder.is_active
"""
_USER_OF_FAMILY = f"""{_USER}
    AND EXISTS (
        SELECT 1 FROM accounts_tokenfamily family
        WHERE family.id = %s AND family.user_id = holder.id AND family.revoked_at IS NULL
    )
"""  # noqa: S608  # constants only; values are always passed apart
_KEY = """
    SELECT
        holder.id, holder.digest, holder.name, holder.is_admin,
        holder.revoked_at IS NULL
            AND (holder.expires_at IS NULL OR holder.expires_at > %s)
            AND COALESCE(owner.is_active, TRUE),
        holder.last_used_at IS NOT NULL AND holder.last_used_at > %s,
        held.action, held.pattern
    FROM accounts_apikey holder
    LEFT JOIN accounts_user owner ON owner.id = holder.owner_id
    LEFT JOIN accounts_topicgrant held ON held.api_key_id = holder.id
    WHERE holder.identifier = %s
"""
_UUID = UUIDField()
_DATETIME = DateTimeField()


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as stored, with the principal that it proves."""

    pk: int
    digest: str
    is_in_force: bool
    """Neither revoked nor expired, and its owner, if it has one, is active."""
    is_use_noted: bool
    """It was last used so recently that this use need not be noted."""
    principal: Principal


def find_user(
    user_id: int, *, family: str | None = None, expires_at: float | None = None
) -> Principal | None:
    """Return an active user's principal, or None. With a family, only while that is in force."""
    if family is None:
        rows = _rows(_USER, [user_id])
    else:
        family_id = _UUID.get_db_prep_value(uuid.UUID(family), connection)
        rows = _rows(_USER_OF_FAMILY, [user_id, family_id])
    if not rows:
        return None
    name, is_staff, is_superuser, *_ = rows[0]
    return _user_principal(
        user_id,
        name,
        is_staff=bool(is_staff),  # SQLite says 0 or 1
        is_superuser=bool(is_superuser),
        grants=((action, pattern) for *_, action, pattern in rows),
        family=family,
        expires_at=expires_at,
    )


def principal_of_user(user: User) -> Principal:
    """Return the principal of a user who is loaded already, such as a browser session's."""
    return _user_principal(
        user.pk,
        user.username,
        is_staff=user.is_staff,
        is_superuser=user.is_superuser,
        grants=user.topic_grants.values_list("action", "pattern"),
    )


def find_key(identifier: str, *, now: datetime, noted_within: timedelta) -> KeyRecord | None:
    """Return an API key by its public identifier, or None. It may be revoked or expired.

    noted_within: how long a noted use makes a new note unnecessary.
    """
    at, noted_after = (
        _DATETIME.get_db_prep_value(each, connection) for each in (now, now - noted_within)
    )
    rows = _rows(_KEY, [at, noted_after, identifier])
    if not rows:
        return None
    pk, digest, name, is_admin, is_in_force, is_use_noted, *_ = rows[0]
    publish, subscribe = _split((action, pattern) for *_, action, pattern in rows)
    return KeyRecord(
        pk=pk,
        digest=digest,
        is_in_force=bool(is_in_force),
        is_use_noted=bool(is_use_noted),
        principal=Principal(
            id=f"key:{identifier}",
            user_id=None,
            name=name,
            is_admin=bool(is_admin),
            publish=publish,
            subscribe=subscribe,
        ),
    )


def _rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _user_principal(
    user_id: int,
    name: str,
    *,
    is_staff: bool,
    is_superuser: bool,
    grants: Grants,
    family: str | None = None,
    expires_at: float | None = None,
) -> Principal:
    publish, subscribe = _split(grants)
    # What covers most comes first: permission checks stop at the first pattern that covers.
    own = (EVERYTHING, f"user.{user_id}.**") if is_superuser else (f"user.{user_id}.**",)
    return Principal(
        id=f"user:{user_id}",
        user_id=user_id,
        name=name,
        is_admin=is_superuser or is_staff,
        publish=tuple(dict.fromkeys((*own, *publish))),
        subscribe=tuple(dict.fromkeys((*own, *subscribe))),
        expires_at=expires_at,
        family=family,
    )


def _split(grants: Grants) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part the patterns by action: publish, subscribe; sorted, so that equal means equal."""
    publish: list[str] = []
    subscribe: list[str] = []
    for action, pattern in grants:
        if pattern is not None:
            (publish if action == TopicGrant.Action.PUBLISH else subscribe).append(pattern)
    return tuple(sorted(publish)), tuple(sorted(subscribe))
