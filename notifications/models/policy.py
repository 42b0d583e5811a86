"""Topic policies: how the topics under a pattern are treated."""

from django.core.exceptions import ValidationError
from django.db import models

from notifications.errors import BadTopic
from notifications.topics.grammar import parse_pattern


class TopicPolicy(models.Model):
    """Rules for the topics that a pattern matches; of several patterns the most specific wins.

    ttl: seconds after which a message is not delivered any more, null for no limit.
    payload_bytes: largest payload as compact JSON, null for the general limit.
    """

    pattern = models.CharField(max_length=255, unique=True)
    ttl = models.PositiveIntegerField("TTL (seconds)", null=True, blank=True)
    payload_bytes = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ("pattern",)
        verbose_name_plural = "topic policies"

    def __str__(self) -> str:
        return self.pattern

    def clean(self) -> None:
        """Refuse a pattern that breaks the grammar."""
        try:
            parse_pattern(self.pattern)
        except BadTopic as error:
            raise ValidationError({"pattern": error.message}) from error
