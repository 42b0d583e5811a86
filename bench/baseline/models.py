"""What the baseline keeps of a notification."""

from typing import ClassVar

from django.db import models


class Notification(models.Model):
    """One published notification."""

    topic = models.CharField(max_length=255)
    payload = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    # Named for the type checker, which reads another project's settings.
    objects: ClassVar[models.Manager["Notification"]] = models.Manager()

    class Meta:
        app_label = "baseline"

    def __str__(self) -> str:
        return f"{self.topic} #{self.pk}"
