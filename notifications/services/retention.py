"""Retention: which messages are kept no longer, by the policies of their topics.

A sweep reads the log from where the last one stopped: `Log.swept_before` for the topics under the
general rule, `TopicPolicy.swept_before` for those of a policy. A changed policy sets all of these
marks back (models/policy.py), as a topic may then come under another. Each run works for
WORK_SECONDS and leaves the rest to the next, which follows at once (`is_behind`).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from notifications import metrics
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
from notifications.models import Log, Message, Topic, TopicPolicy
from notifications.services.policies import NO_POLICY, Policies, Policy

WORK_SECONDS = 20.0
"""Time after which a sweep leaves the rest to its next run. The policies share one half of it, so
that a busy one keeps neither the others nor the general rule from their turn."""

BEHIND = 1.0
"""Seconds of lag from which on the next run follows at once; marks are in milliseconds."""

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


def expired_are_left(*, now: datetime) -> bool:
    """Tell whether messages are there that have expired."""
    return Message.objects.filter(expires_at__lt=now).exists()


def sweep_retention(*, now: datetime) -> int:
    """Purge what is older or more than the topics' policies keep; return how many messages."""
    run = _Run(now)
    # Policies first: they are asked for in particular, and are the smaller part.
    run.apply_policies()
    run.apply_general_age()
    return run.purged


def retention_lag(*, now: datetime) -> dict[str, float]:
    """Return by how many seconds retention is behind: the `general` rule, and of `policies` the
    one that is furthest behind.

    While nothing says how far a rule was applied, because policies changed, it is as old as the
    oldest message makes it: too much rather than too little.
    """
    policies = Policies()
    policies.refresh(max_age=0)
    marks = dict(TopicPolicy.objects.values_list("pattern", "swept_before"))
    general = Log.objects.values_list("swept_before", flat=True).get()
    first: datetime | None = None
    if general is None or None in marks.values():
        oldest = Message.objects.order_by("pk").values_list("pk", flat=True).first()
        first = to_datetime(instant_of(oldest)) if oldest is not None else now
    lags = {"general": now - timedelta(seconds=conf().retention) - (general or first or now)}
    lags["policies"] = timedelta(0)
    for policy in filter(_has_rules, policies):
        mark = marks.get(policy.pattern or "")
        if mark is None:
            of_age_only = policy.retention_count is policy.retention_bytes is None
            kept = (policy.retention or 0) if of_age_only else 0
            mark = (first or now) + timedelta(seconds=kept)
        lags["policies"] = max(lags["policies"], now - mark)
    return {rule: max(lag.total_seconds(), 0.0) for rule, lag in lags.items()}


def measure_lag(*, now: datetime) -> None:
    """Show in the metrics how far retention is behind, whoever runs it."""
    for rule, seconds in retention_lag(now=now).items():
        metrics.retention_lag.labels(rule).set(seconds)


def is_behind(*, now: datetime) -> bool:
    """Tell whether a run at that instant left something to the next."""
    return max(retention_lag(now=now).values()) > BEHIND


def _has_rules(policy: Policy) -> bool:
    return {policy.retention, policy.retention_count, policy.retention_bytes} != {None}


@dataclass(slots=True)
class _Pass:
    """How far the topics of a policy were looked at, by runs that were too short for all of them.

    policies: those in force. since: the policy's mark. began: the instant that all topics will
    have been looked at from. last: the topic up to which they have been, by its row's id.
    """

    policies: list[Policy]
    since: datetime | None
    began: datetime
    last: int = 0


_passes: dict[str, _Pass] = {}
"""By pattern. Kept by the process only: another one begins anew, and loses but time."""


class _Run:
    """One run of the sweep. purged: the messages purged so far."""

    def __init__(self, now: datetime) -> None:
        self.purged = 0
        self._policies = Policies()
        self._policies.refresh(max_age=0)
        self._now = now
        self._until = self._end = time.monotonic() + WORK_SECONDS
        self._changed = False

    def _is_over(self) -> bool:
        return self._changed or time.monotonic() >= self._until

    def apply_policies(self) -> None:
        """Apply the policies' own rules, each for its part of the time."""
        policies = list(filter(_has_rules, self._policies))
        for pattern in _passes.keys() - {policy.pattern for policy in policies}:
            _passes.pop(pattern, None)
        end = self._end - WORK_SECONDS / 2
        for turn, policy in enumerate(policies):
            now = time.monotonic()
            self._until = now + (end - now) / (len(policies) - turn)
            self._apply(policy)
        self._until = self._end

    def _apply(self, policy: Policy) -> None:
        """Apply a policy's own rules; its mark says up to which instant they are applied."""
        if self._is_over():
            return
        rows = TopicPolicy.objects.filter(pattern=policy.pattern)
        mark = rows.values_list("swept_before", flat=True).first()
        looked = self._pass_of(policy, mark)
        for topic in self._topics(policy, looked):
            if self._is_over() or not self._keep_newest(topic, policy):
                return  # the next run goes on with this topic
            looked.last = topic.pk
        if policy.retention is None:
            self._write_mark(policy, looked.began)
        else:
            kept = timedelta(seconds=policy.retention)
            self._keep_youngest(policy, policy.retention, mark - kept if mark else None, ahead=kept)
        if not self._is_over():
            _passes.pop(policy.pattern or "", None)

    def _pass_of(self, policy: Policy, mark: datetime | None) -> _Pass:
        """Return the pass that is under way, or begin one, where policies or marks have changed."""
        looked = _passes.get(policy.pattern or "")
        in_force = list(self._policies)
        if looked is None or looked.since != mark or looked.policies != in_force:
            looked = _passes[policy.pattern or ""] = _Pass(in_force, mark, self._now)
        return looked

    def apply_general_age(self) -> None:
        """Apply the general retention to all topics whose policy has none of its own."""
        if not self._is_over():
            mark = Log.objects.values_list("swept_before", flat=True).get()
            self._keep_youngest(NO_POLICY, conf().retention, mark, ahead=timedelta(0))

    # --- So many messages, so many bytes ------------------------------------------------------

    def _topics(self, policy: Policy, looked: _Pass) -> Iterator[Topic]:
        """Iterate over the topics that may have too much, from where the last run stopped."""
        assert policy.pattern is not None
        too_much = Q()
        if policy.retention_count is not None:
            too_much |= Q(seq__gt=F("purged_seq") + policy.retention_count)
        if policy.retention_bytes is not None:
            since = looked.since
            recent = Q(last_published_at__gte=since - LATE) if since is not None else Q(pk__gt=0)
            too_much |= recent
        if not too_much:
            return
        topics = Topic.objects.filter(topics_matching([policy.pattern], field="name"), too_much)
        last = looked.last
        while page := list(topics.filter(pk__gt=last).order_by("pk")[:BATCH]):
            last = page[-1].pk
            for topic in page:
                if self._policies.of(topic.name) == policy:
                    yield topic

    def _keep_newest(self, topic: Topic, policy: Policy) -> bool:
        """Purge what a topic has too much; tell whether the time was enough."""
        up_to = 0
        if policy.retention_count is not None:
            up_to = topic.seq - policy.retention_count
        if policy.retention_bytes is not None:
            too_much = over_bytes(topic.pk, policy.retention_bytes, after=topic.purged_seq)
            up_to = max(up_to, too_much)
        if up_to <= topic.purged_seq:
            return True
        after = topic.purged_seq
        while rows := stored_up_to(topic.pk, up_to, after=after):
            self.purged += purge(rows, now=self._now)
            after = rows[-1].seq
            if self._is_over():
                return False
        # Also where nothing was found, because it had expired: it is then not looked for again.
        note_purged(topic.pk, topic.partition_id, up_to)
        return True

    # --- So old -------------------------------------------------------------------------------

    def _keep_youngest(
        self, policy: Policy, retention: float, begin: datetime | None, *, ahead: timedelta
    ) -> None:
        """Purge what is older than `retention`, from the instant `begin` on.

        ahead: how far the mark stands before the instant up to which has been purged.
        """
        cutoff = cutoff_ms(self._now, retention)
        end = first_id_at(cutoff)
        # What is kept for longer than LATE was there when the mark passed it.
        late = max(LATE - timedelta(seconds=retention), timedelta(0))
        start = first_id_at(to_ms(begin - late) if begin is not None else 0)
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
        policy = self._policies.of(topic)
        return policy if policy.retention is not None else NO_POLICY

    def _write_mark(self, policy: Policy, mark: datetime) -> None:
        # Whoever changes a policy sets the marks back, and so waits for this lock or has already
        # committed what is compared here: a mark never outlives the policies that it was made by.
        with transaction.atomic():
            Log.objects.select_for_update().get()
            now_in_force = Policies()
            now_in_force.refresh(max_age=0)
            if list(now_in_force) != list(self._policies):
                self._changed = True
            elif policy is NO_POLICY:
                Log.objects.update(swept_before=mark)
            else:
                looked = _passes[policy.pattern or ""]
                if policy.retention_bytes is not None:
                    # Topics were looked at from when the pass began, which may be some runs ago.
                    mark = min(mark, looked.began)
                TopicPolicy.objects.filter(pattern=policy.pattern).update(swept_before=mark)
                looked.since = mark
