"""The Django app: its signals, checks and the row of the log."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class NotificationsConfig(AppConfig):
    """Bellwether's own app."""

    name = "notifications"
    verbose_name = "Notifications"

    def ready(self) -> None:
        """Register the checks, and make the log whenever the tables have been made or flushed."""
        from notifications import checks  # noqa: F401  # registers itself; needs the apps loaded

        post_migrate.connect(_make_log, sender=self)


def _make_log(*, using: str, **_: Any) -> None:
    from notifications.log.creation import make_log  # needs the apps loaded

    make_log(using=using)
