"""Reads of who may do what. Each is one query, whatever the number of grants.

The two that every connect and every request of a program go through are written in SQL: the ORM
spends 0.3 to 0.5 ms of CPU on building such a query and its rows, fifteen times what the database
driver needs, and a thousand clients that reconnect at once pay it a thousand times.
"""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import DateTimeField, UUIDField

from accounts.models import TopicGrant, User
from accounts.principal import Principal

EVERYTHING = "**"

Grants = Iterable[tuple[str | None, str | None]]
"""Pairs (action, pattern); (None, None) where the join found no grant."""

# One row per grant (and family in force) repeats the holder; that is cheaper than a second round
# trip. Lists of as many values as are asked for stand in place of {ids} and {families}.
_USERS = """
    SELECT
        holder.id, holder.username, holder.is_staff, holder.is_superuser,
        held.action, held.pattern, family.id
    FROM accounts_user holder
    LEFT JOIN accounts_topicgrant held ON held.user_id = holder.id
    LEFT JOIN accounts_tokenfamily family
        ON family.user_id = holder.id AND family.revoked_at IS NULL AND family.id IN ({families})
    WHERE holder.is_active AND holder.id IN ({ids})
"""
_KEYS = """
    SELECT
        holder.identifier, holder.id, holder.digest, holder.name, holder.is_admin,
        holder.revoked_at IS NULL
            AND (holder.expires_at IS NULL OR holder.expires_at > %s)
            AND COALESCE(owner.is_active, TRUE),
        holder.last_used_at IS NOT NULL AND holder.last_used_at > %s,
        held.action, held.pattern
    FROM accounts_apikey holder
    LEFT JOIN accounts_user owner ON owner.id = holder.owner_id
    LEFT JOIN accounts_topicgrant held ON held.api_key_id = holder.id
    WHERE holder.identifier IN ({ids})
"""
_UUID = UUIDField()
_DATETIME = DateTimeField()


class UserProof(NamedTuple):
    """What a verified access token says of its bearer. expires_at: seconds since 1970."""

    user_id: int
    family: str | None = None
    expires_at: float | None = None


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
    return find_users([UserProof(user_id, family, expires_at)])[0]


def find_users(proofs: Sequence[UserProof]) -> list[Principal | None]:
    """The same for many, in their order; one query."""
    ids = {proof.user_id for proof in proofs}
    families = {uuid.UUID(proof.family) for proof in proofs if proof.family is not None}
    family_ids = [_UUID.get_db_prep_value(family, connection) for family in families]
    sql = _USERS.format(ids=_places(ids), families=_places(family_ids) or "NULL")
    found: dict[int, list[tuple[Any, ...]]] = {}
    for user_id, *row in _rows(sql, [*family_ids, *ids]):
        found.setdefault(user_id, []).append(tuple(row))
    return [_proven(proof, found.get(proof.user_id, ())) for proof in proofs]


def _proven(proof: UserProof, rows: Sequence[tuple[Any, ...]]) -> Principal | None:
    if not rows:
        return None
    if proof.family is not None:
        family = uuid.UUID(proof.family)
        rows = [row for row in rows if row[-1] is not None and _UUID.to_python(row[-1]) == family]
        if not rows:
            return None
    name, is_staff, is_superuser, *_ = rows[0]
    return _user_principal(
        proof.user_id,
        name,
        is_staff=bool(is_staff),  # SQLite says 0 or 1
        is_superuser=bool(is_superuser),
        # Of a user's several families in force each repeats the grants.
        grants=dict.fromkeys((action, pattern) for *_, action, pattern, _ in rows),
        family=proof.family,
        expires_at=proof.expires_at,
    )


def find_principal(principal_id: str, *, now: datetime) -> Principal | None:
    """Return who is named `user:<id>` or `key:<identifier>`, with what it may do now; one query.

    None where it may do nothing any more: the user is inactive, the key revoked or expired, either
    deleted.
    """
    kind, _, name = principal_id.partition(":")
    if kind == "user":
        return find_user(int(name))
    record = find_key(name, now=now, noted_within=timedelta(0))
    return record.principal if record is not None and record.is_in_force else None


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
    return find_keys([identifier], now=now, noted_within=noted_within).get(identifier)


def find_keys(
    identifiers: Collection[str], *, now: datetime, noted_within: timedelta
) -> dict[str, KeyRecord]:
    """The same for many, by their identifiers; one query."""
    times = [_DATETIME.get_db_prep_value(each, connection) for each in (now, now - noted_within)]
    found: dict[str, list[tuple[Any, ...]]] = {}
    sql = _KEYS.format(ids=_places(identifiers))
    for identifier, *row in _rows(sql, [*times, *identifiers]):
        found.setdefault(identifier, []).append(tuple(row))
    return {identifier: _key_record(identifier, rows) for identifier, rows in found.items()}


def _key_record(identifier: str, rows: Sequence[tuple[Any, ...]]) -> KeyRecord:
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


def _places(values: Collection[object]) -> str:
    return ", ".join(["%s"] * len(values))


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
