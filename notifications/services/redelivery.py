"""Redelivery: messages of the log that live connections are to get once more.

Whoever wants it writes a row; servers look for new rows every second or so.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max, Q

from notifications.errors import BadFrame, UnknownTopic
from notifications.models import Delivery, Log, Message, Redelivery, Session, Topic
from notifications.topics.grammar import parse_topic

MAX_MESSAGES = 10_000
"""Messages that one wish may ask for."""

REDELIVERIES_KEPT = timedelta(hours=1)
"""How long servers may find a wish for redelivery."""

CLOCKS_DIFFER = timedelta(minutes=1)
"""How far the clocks of those who write wishes may be apart."""

NO_ACK = "no_ack"
"""Why a delivery is pending whose client is connected and silent."""

FORGET_BATCH = 2_000
"""Rows that one statement deletes."""

WANTED_AT_ONCE = 100
"""Wishes that a server reads at once."""


def wanted_since(last_id: int, *, limit: int = WANTED_AT_ONCE) -> list[Redelivery]:
    """Return the wishes after one, the oldest first; a server that gets `limit` asks again."""
    return list(Redelivery.objects.filter(pk__gt=last_id).order_by("pk")[:limit])


def last_redelivery_id(*, before: datetime | None = None) -> int:
    """Return the newest wish's id, where a server begins that has no connections yet; or 0.

    before: only wishes from before that instant.
    """
    rows = Redelivery.objects.all()
    if before is not None:
        rows = rows.filter(created_at__lt=before)
    return rows.aggregate(last=Max("pk"))["last"] or 0


def insert_redeliveries(rows: Sequence[Redelivery]) -> None:
    """Write wishes; call it last in a transaction.

    The log's row is locked until the commit, so ids become visible in their order: a server that
    has read one will not miss a smaller one that was committed later.
    """
    if not rows:
        return
    with transaction.atomic():
        Log.objects.select_for_update(no_key=True).get()
        Redelivery.objects.bulk_create(rows, batch_size=1_000)


def take_back_attempt(wish: Redelivery) -> None:
    """Note that a retry was not given to its connection after all, so that it does not count."""
    if wish.session_id is not None and wish.up_to - wish.after == 1:
        Delivery.objects.filter(
            session_id=wish.session_id,
            topic=wish.topic,
            partition=wish.partition,
            offset=wish.up_to,
            state=Delivery.State.PENDING,
            reason=NO_ACK,
            attempts__gt=1,
        ).update(attempts=F("attempts") - 1)


def forget_redeliveries(*, now: datetime) -> int:
    """Delete the wishes that all servers have seen; return how many."""
    old = Redelivery.objects.filter(created_at__lt=now - REDELIVERIES_KEPT)
    forgotten = 0
    # In steps: one statement for all could run into its timeout, and never get anywhere.
    while pks := list(old.order_by("created_at").values_list("pk", flat=True)[:FORGET_BATCH]):
        forgotten += Redelivery.objects.filter(pk__in=pks).delete()[0]
    return forgotten


def request_redelivery(
    topic: str,
    after_seq: int | None = None,
    before_seq: int | None = None,
    *,
    last: int | None = None,
    session: Session | None = None,
    now: datetime,
) -> int:
    """Have the kept messages of a topic given once more; return how many were asked for.

    after_seq, before_seq: exclusive, as in the history. last: of these the newest so many.
    session: for this client only; None: for all who are connected and subscribe to the topic.
    What has expired is not given again and does not count. Raises BadTopic, BadFrame,
    UnknownTopic.
    """
    name = parse_topic(topic)
    _check(after_seq, before_seq, last)
    row = Topic.objects.filter(name=name).first()
    if row is None:
        raise UnknownTopic(f"Nothing was published to {name!r} yet, so nothing can be replayed.")
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    found = Message.objects.filter(unexpired, topic=row)
    if after_seq is not None:
        found = found.filter(seq__gt=after_seq)
    if before_seq is not None:
        found = found.filter(seq__lt=before_seq)
    most = last if last is not None else MAX_MESSAGES + 1
    offsets = list(found.order_by("-seq").values_list("offset", flat=True)[:most])
    if len(offsets) > MAX_MESSAGES:
        raise BadFrame(
            f"More than {MAX_MESSAGES:,} messages lie in this range; ask for fewer at a time, "
            "or let the clients read the history."
        )
    if offsets:
        insert_redeliveries(
            [
                Redelivery(
                    topic=name,
                    partition=row.partition_id,
                    after=offsets[-1] - 1,
                    up_to=offsets[0],
                    session=session,
                    created_at=now,
                )
            ]
        )
    return len(offsets)


def _check(after: int | None, before: int | None, last: int | None) -> None:
    if (after is not None and after < 0) or (before is not None and before < 1):
        raise BadFrame("A seq is 1 or more; `after` may be 0.")
    if after is not None and before is not None and before - after < 2:
        raise BadFrame(
            f"Nothing lies between the seq {after} and {before}: both are exclusive, so `before` "
            "is at least two more than `after`."
        )
    if last is not None and not 1 <= last <= MAX_MESSAGES:
        raise BadFrame(f"`last` is a whole number from 1 to {MAX_MESSAGES:,}.")
