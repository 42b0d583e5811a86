"""Deliveries: what becomes of a message whose policy asks for acknowledgements."""

from django.db import models

from notifications.models.session import Session


class Delivery(models.Model):
    """A message on its way to a client that has to acknowledge it.

    attempts: how often it was given to the client's connection. reason: why it is not
    acknowledged yet, or never will be. since: when the state began.
    """

    class State(models.TextChoices):
        """Where it stands, in the words of `GET /api/v1/messages/{id}/deliveries`."""

        PENDING = "pending"
        ACKNOWLEDGED = "acknowledged"
        UNDELIVERED = "undelivered"

    message_id = models.UUIDField()
    topic = models.CharField(max_length=255)
    partition = models.PositiveSmallIntegerField()
    offset = models.BigIntegerField()
    publisher = models.CharField(max_length=64)
    session = models.ForeignKey(Session, models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=12, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=1)
    reason = models.CharField(max_length=64, blank=True, default="")
    since = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-since", "-id")
        verbose_name_plural = "deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=("message_id", "session"), name="one_delivery_of_a_message_to_a_session"
            ),
        )
        indexes = (
            models.Index(
                fields=("next_attempt_at",),
                condition=models.Q(state="pending"),
                name="deliveries_by_next_attempt",
            ),
            models.Index(fields=("state", "-since"), name="deliveries_by_state"),
        )

    def __str__(self) -> str:
        return f"{self.topic} {self.partition}:{self.offset} to {self.session_id}"


class Redelivery(models.Model):
    """A wish that servers give messages of the log to live connections once more.

    Servers look for new ones every second or so, whatever the bus: the log is where they hear of
    them. What is wanted are the messages of a topic after `after` and through `up_to` (offsets of
    its partition); for one session, or for all who subscribe to the topic.
    """

    topic = models.CharField(max_length=255)
    partition = models.PositiveSmallIntegerField()
    after = models.BigIntegerField()
    up_to = models.BigIntegerField()
    session = models.ForeignKey(Session, models.CASCADE, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("id",)
        verbose_name_plural = "redeliveries"

    def __str__(self) -> str:
        return f"{self.topic} ({self.after}, {self.up_to}]"
