"""Retention: which messages are kept no longer, by the policies of their topics.

A sweep reads the log from where the last one stopped: `Log.swept_before` for the topics under the
general rule, `TopicPolicy.swept_before` for those of a policy. A changed policy sets all of these
marks back (models/policy.py), as a topic may then come under another. Each run works for
WORK_SECONDS and leaves the rest to the next.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from notifications.conf import conf
from notifications.log.patterns import topics_matching
from notifications.log.purge import (
    BATCH,
    cutoff_ms,
    first_id_at,
    instant_of,
    note_purged,
    over_bytes,
    purge,
    purge_expired,
    stored_between,
    stored_up_to,
)
from notifications.log.records import to_datetime, to_ms
from notifications.models import Log, Topic, TopicPolicy
from notifications.services.policies import NO_POLICY, Policies, Policy

WORK_SECONDS = 20.0
"""Time after which a sweep leaves the rest to its next run."""

PAGE = 4_000
"""Messages that are looked at before the mark is written; of 16 partitions, half a batch each."""

LATE = timedelta(seconds=60)
"""How long a message may take from its id to its commit, clocks of hosts included: that much before
the mark is looked at again."""


def sweep_expired_messages(*, now: datetime) -> int:
    """Delete the messages that have expired; return how many."""
    until = time.monotonic() + WORK_SECONDS
    deleted = 0
    for count in purge_expired(now=now):
        deleted += count
        if time.monotonic() >= until:
            break
    return deleted


def sweep_retention(*, now: datetime) -> int:
    """Purge what is older or more than the topics' policies keep; return how many messages."""
    run = _Run(now)
    # Policies first: they are asked for in particular, and are the smaller part.
    for policy in run.policies:
        run.apply(policy)
    run.apply_general_age()
    return run.purged


class _Run:
    """One run of the sweep. purged: the messages purged so far."""

    def __init__(self, now: datetime) -> None:
        self.purged = 0
        self.policies = Policies()
        self.policies.refresh(max_age=0)
        self._now = now
        self._until = time.monotonic() + WORK_SECONDS
        self._changed = False

    def _is_over(self) -> bool:
        return self._changed or time.monotonic() >= self._until

    def apply(self, policy: Policy) -> None:
        """Apply a policy's own rules; its mark says up to which instant they are applied."""
        rules = {policy.retention, policy.retention_count, policy.retention_bytes}
        if self._is_over() or rules == {None}:
            return
        rows = TopicPolicy.objects.filter(pattern=policy.pattern)
        mark = rows.values_list("swept_before", flat=True).first()
        for topic in self._topics(policy, since=mark):
            if self._is_over():
                return  # the mark stays, so all topics since then are looked at again
            self._keep_newest(topic, policy)
        if policy.retention is None:
            self._write_mark(policy, self._now)
            return
        kept = timedelta(seconds=policy.retention)
        self._keep_youngest(policy, policy.retention, mark - kept if mark else None, ahead=kept)

    def apply_general_age(self) -> None:
        """Apply the general retention to all topics whose policy has none of its own."""
        if not self._is_over():
            mark = Log.objects.values_list("swept_before", flat=True).get()
            self._keep_youngest(NO_POLICY, conf().retention, mark, ahead=timedelta(0))

    # --- So many messages, so many bytes ------------------------------------------------------

    def _topics(self, policy: Policy, *, since: datetime | None) -> Iterator[Topic]:
        """Iterate over the topics that may have too much."""
        assert policy.pattern is not None
        too_much = Q()
        if policy.retention_count is not None:
            too_much |= Q(seq__gt=F("purged_seq") + policy.retention_count)
        if policy.retention_bytes is not None:
            recent = Q(last_published_at__gte=since - LATE) if since is not None else Q(pk__gt=0)
            too_much |= recent
        if not too_much:
            return
        topics = Topic.objects.filter(topics_matching([policy.pattern], field="name"), too_much)
        last = 0
        while page := list(topics.filter(pk__gt=last).order_by("pk")[:BATCH]):
            last = page[-1].pk
            for topic in page:
                if self.policies.of(topic.name) == policy:
                    yield topic

    def _keep_newest(self, topic: Topic, policy: Policy) -> None:
        up_to = 0
        if policy.retention_count is not None:
            up_to = topic.seq - policy.retention_count
        if policy.retention_bytes is not None:
            too_much = over_bytes(topic.pk, policy.retention_bytes, after=topic.purged_seq)
            up_to = max(up_to, too_much)
        if up_to <= topic.purged_seq:
            return
        after = topic.purged_seq
        while rows := stored_up_to(topic.pk, up_to, after=after):
            self.purged += purge(rows, now=self._now)
            after = rows[-1].seq
            if self._is_over():
                return
        # Also where nothing was found, because it had expired: it is then not looked for again.
        note_purged(topic.pk, topic.partition_id, up_to)

    # --- So old -------------------------------------------------------------------------------

    def _keep_youngest(
        self, policy: Policy, retention: float, begin: datetime | None, *, ahead: timedelta
    ) -> None:
        """Purge what is older than `retention`, from the instant `begin` on.

        ahead: how far the mark stands before the instant up to which has been purged.
        """
        cutoff = cutoff_ms(self._now, retention)
        end = first_id_at(cutoff)
        start = first_id_at(to_ms(begin - LATE) if begin is not None else 0)
        reached = begin
        while not self._is_over() and (rows := stored_between(start, end, limit=PAGE)):
            old = [row for row in rows if self._rules_for_age(row.topic) == policy]
            self.purged += purge(old, now=self._now)
            start = rows[-1].id
            here = to_datetime(instant_of(start))
            if (len(rows) == PAGE or self._is_over()) and (reached is None or here > reached):
                reached = here
                self._write_mark(policy, here + ahead)
            if len(rows) < PAGE:
                break
            start = UUID(int=start.int + 1)
        if not self._is_over():
            self._write_mark(policy, to_datetime(cutoff) + ahead)

    def _rules_for_age(self, topic: str) -> Policy:
        policy = self.policies.of(topic)
        return policy if policy.retention is not None else NO_POLICY

    def _write_mark(self, policy: Policy, mark: datetime) -> None:
        # Whoever changes a policy sets the marks back, and so waits for this lock or has already
        # committed what is compared here: a mark never outlives the policies that it was made by.
        with transaction.atomic():
            Log.objects.select_for_update().get()
            now_in_force = Policies()
            now_in_force.refresh(max_age=0)
            if list(now_in_force) != list(self.policies):
                self._changed = True
            elif policy is NO_POLICY:
                Log.objects.update(swept_before=mark)
            else:
                TopicPolicy.objects.filter(pattern=policy.pattern).update(swept_before=mark)
