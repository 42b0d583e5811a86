"""Many sessions, subscriptions and deliveries, and the queries that go through them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

LARGE: Final = (
    "notifications_session",
    "notifications_subscription",
    "notifications_delivery",
    "notifications_redelivery",
)
"""The tables that are filled here."""

_FILL: Final = (
    "INSERT INTO notifications_server (id, host, pid, started_at, seen_at) "
    "VALUES ('bench', 'bench', 1, now(), now())",
    # One in a hundred has ended, some of them lately; one in a thousand was taken over.
    """
    INSERT INTO notifications_session (id, secret_digest, principal, client_id, state, reason,
        since, server_id, connects, messages_sent, created_at, ended_at, client_name,
        client_version, client_kind, capabilities, attempt, last_disconnect_reason, taken_from,
        taken_at, acked)
    SELECT gen_random_uuid(), md5(n::text), 'user:' || n, 'c',
        CASE WHEN n % 100 = 0 THEN 'disconnected' ELSE 'connected' END, '',
        now() - n % 86400 * interval '1 second', 'bench', 1, 0, now(),
        CASE WHEN n % 100 = 0 THEN now() - n * interval '5 seconds' END, '', '', '', '[]',
        0, '', CASE WHEN n % 1000 = 1 THEN 'bench' ELSE '' END,
        CASE WHEN n % 1000 = 1 THEN now() - n % 86400 * interval '1 second' END, '{}'
    FROM generate_series(1, 200000) AS n
    """,
    """
    INSERT INTO notifications_subscription (id, principal, client_id, pattern, options, begin,
        epoch, begun_by, created_at)
    SELECT gen_random_uuid(), 'user:' || n % 200000 + 1, 'c',
        CASE WHEN n > 200000 THEN 'news.' || n % 1000 || '.*'
            ELSE 'shop.' || n % 500 || '.t' || n END, '{}', '{}', '', '', now()
    FROM generate_series(1, 400000) AS n
    """,
    # One in a hundred is pending, most of these not due yet.
    """
    INSERT INTO notifications_delivery (message_id, topic, partition, "offset", publisher,
        session_id, state, attempts, reason, since, next_attempt_at)
    SELECT gen_random_uuid(), 'shop.7.t7', 0, n, 'system', s.id,
        CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'acknowledged' END, 1,
        CASE WHEN n % 200 = 0 THEN 'away' ELSE '' END, now() - n % 86400 * interval '1 second',
        CASE WHEN n % 100 = 0 THEN now() + (n % 3600 - 300) * interval '1 second' END
    FROM generate_series(1, 200000) AS n
    JOIN notifications_session s ON s.secret_digest = md5(n::text)
    """,
    "INSERT INTO notifications_redelivery (topic, partition, after, up_to, created_at) "
    "SELECT 'shop.7.t7', 0, n, n + 1, now() - n * interval '1 second' "
    "FROM generate_series(1, 50000) AS n",
    # What tracking finds: the newest thousand of each partition.
    "UPDATE notifications_partition SET tracked = greatest(head - 1000, 0)",
    "ANALYZE",
)


def fill() -> None:
    """Fill the tables; a database that bench.purge filled is set up."""
    from django.db import connection

    from notifications.models import TopicPolicy

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")  # that is for what is done in service
        for statement in _FILL:
            cursor.execute(statement)
        cursor.execute("RESET statement_timeout")
    TopicPolicy.objects.create(pattern="shop.7.*", acknowledged=True)


def queries() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what is done in service, by name."""
    from django.utils import timezone

    from accounts.principal import Principal
    from notifications.services.deliveries import forget_deliveries, retry
    from notifications.services.opening import ClientDescription, Opening, open_sessions
    from notifications.services.redelivery import (
        forget_redeliveries,
        request_redelivery,
        wanted_since,
    )
    from notifications.services.sessions import (
        SessionChange,
        ended_lately,
        forget_ended_sessions,
        record_changes,
        taken_lately,
    )
    from notifications.services.subscriptions import Addition, Removal, change_subscriptions
    from notifications.services.tracking import track

    now = timezone.now()
    lately = now - timedelta(seconds=30)

    def principal(number: int) -> Principal:
        return Principal(
            id=f"user:{number}", user_id=None, name="", is_admin=False, publish=(), subscribe=()
        )

    def opening(number: int) -> Opening:
        return Opening(principal(number), ClientDescription(client_id="c"))

    openings = [opening(number) for number in (*range(1, 41), *range(900_000, 900_010))]
    yield "sessions at auth", lambda: open_sessions(openings, server_id="bench", now=now)

    def subscribe() -> None:
        added = change_subscriptions(
            [
                Addition(principal(number), "c", "shop.1.*", {}, {}, "", now)
                for number in range(1, 41)
            ]
        )
        change_subscriptions(
            [
                Removal(principal(number), "c", str(getattr(row, "pk", "")))
                for number, row in enumerate(added, 1)
            ]
        )

    yield "subscriptions made and ended", subscribe
    yield "sessions that ended lately", lambda: ended_lately("bench", since=lately)
    yield "sessions taken lately", lambda: taken_lately("bench", since=lately)
    opened = open_sessions([opening(99)], server_id="bench", now=now)[0]
    change = SessionChange(
        handle=getattr(opened, "handle"),  # noqa: B009  # it may be a refusal to the type checker
        server_id="bench",
        connects=getattr(opened, "connects"),  # noqa: B009
        state="reconnecting",
        reason="",
        since=now,
    )
    yield "a session's state", lambda: record_changes([change])
    yield "sessions long ended", lambda: forget_ended_sessions(now=now)
    yield "redelivery of the newest", lambda: request_redelivery("shop.7.t7", last=10, now=now)
    yield "redelivery of a range", lambda: request_redelivery("shop.7.t7", 3, 9, now=now)
    yield "wishes for redelivery", lambda: wanted_since(49_990)
    yield "deliveries: tracking", lambda: track(now=now)
    yield "deliveries: retry", lambda: retry(now=now)
    yield "deliveries long over", lambda: forget_deliveries(now=now + timedelta(days=6, hours=1))
    yield "wishes long seen", lambda: forget_redeliveries(now=now)
