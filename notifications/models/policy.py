"""Topic policies: how the topics under a pattern are treated."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models.signals import post_delete, post_save, pre_delete
from django.dispatch import receiver

from notifications.errors import BadTopic
from notifications.models.log import Log
from notifications.topics.grammar import parse_pattern
from notifications.topics.handling import Overflow

MIN_IDEMPOTENCY = 86_400
"""Seconds for which a retry is answered as the first was, at least; the contract's 24 hours."""

MOST_SECONDS = 100 * 365 * 86_400
"""The longest time in a policy: added to the clock it is still an instant."""

TIMES = ("ttl", "retention", "idempotency", "ack_timeout")
"""The fields that are times in seconds."""


def _number(name: str, *, least: int = 1, most: int | None = None) -> Any:
    """Make a field that holds a whole number, or null where the general rule applies."""
    validators: list[Any] = [MinValueValidator(least)]
    if most is not None:
        validators.append(MaxValueValidator(most))
    return models.PositiveBigIntegerField(name, null=True, blank=True, validators=validators)


class TopicPolicy(models.Model):
    """Rules for the topics that a pattern matches; of several patterns the most specific wins.

    It wins as a whole: what it leaves null is the general rule, not the next policy's. Times are
    seconds, batch_delay is milliseconds.

    ephemeral: messages are relayed to whoever is there and not kept.
    ttl: how long a message is delivered for. retention, retention_count, retention_bytes: what is
    kept of each topic: messages younger than, the newest so many, the newest so many bytes.
    idempotency: how long a retry with the same key is answered as the first was.
    payload_bytes: largest payload. replay_messages: most messages of these topics in one replay.
    batch_size, batch_delay: how live messages are gathered.
    overflow: what gives way when a connection does not keep up; only ephemeral messages can.
    acknowledged: messages are delivered again until they are acknowledged: each ack_timeout (longer
    with each attempt), ack_attempts times; then they are marked undelivered.
    swept_before: retention has been applied to what was published before.
    """

    pattern = models.CharField(max_length=255, unique=True)
    ephemeral = models.BooleanField(default=False)
    ttl = _number("TTL (seconds)")
    retention = _number("retention (seconds)")
    retention_count = _number("retention (messages of a topic)")
    retention_bytes = _number("retention (payload bytes of a topic)")
    idempotency = _number("idempotency window (seconds)", least=MIN_IDEMPOTENCY)
    payload_bytes = _number("largest payload (bytes)")
    replay_messages = _number("replay cap (messages)")
    batch_size = _number("batch size (messages)", most=100)
    batch_delay = _number("batch delay (milliseconds)", least=0, most=10_000)
    overflow = models.CharField(  # noqa: DJ001  # null where no rule is set, as everywhere here
        max_length=16,
        null=True,
        blank=True,
        choices=[(one.value, one.value.replace("_", " ")) for one in Overflow],
    )
    acknowledged = models.BooleanField("acknowledged delivery", default=False)
    ack_timeout = _number("acknowledge within (seconds)")
    ack_attempts = _number("delivery attempts")
    swept_before = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("pattern",)
        verbose_name_plural = "topic policies"
        constraints = (
            models.CheckConstraint(
                condition=~models.Q(ephemeral=True, acknowledged=True),
                name="what_is_not_kept_cannot_be_delivered_again",
                violation_error_message="Ephemeral messages are not kept, so they cannot be "
                "delivered again; switch off one of the two.",
            ),
            models.CheckConstraint(
                condition=models.Q(ephemeral=True)
                | models.Q(overflow__isnull=True)
                | models.Q(overflow="disconnect"),
                name="what_is_kept_is_never_dropped",
                violation_error_message="Messages of the log are never dropped: overflow other "
                "than disconnect is for ephemeral topics.",
            ),
        )

    def __str__(self) -> str:
        return self.pattern

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it, with all policies locked."""
        with transaction.atomic():
            lock_policies()
            super().save(*args, **kwargs)

    def clean(self) -> None:
        """Refuse a pattern that breaks the grammar, and times that lead out of the calendar."""
        for name in TIMES:
            if (getattr(self, name) or 0) > MOST_SECONDS:
                raise ValidationError({name: f"At most {MOST_SECONDS} seconds, a hundred years."})
        try:
            parse_pattern(self.pattern)
        except BadTopic as error:
            raise ValidationError({"pattern": error.message}) from error


def lock_policies() -> None:
    """Let nobody else change policies, or the marks that retention keeps in them, until the commit.

    In a transaction, and before a policy's own row is locked or written: retention takes the log's
    row first too, so none of them waits for the other's.
    """
    Log.objects.select_for_update(no_key=True).first()


@receiver(pre_delete, sender=TopicPolicy)
def lock_before_deletion(**_: object) -> None:
    """Lock all policies; Django sends this inside of the deletion's transaction."""
    lock_policies()


@receiver((post_save, post_delete), sender=TopicPolicy)
def begin_retention_anew(**_: object) -> None:
    """Set the marks of retention back: topics may have come under another policy.

    Deletion by a queryset comes here too, `update` and `bulk_create` do not.
    """
    Log.objects.filter(swept_before__isnull=False).update(swept_before=None)
    TopicPolicy.objects.filter(swept_before__isnull=False).update(swept_before=None)
