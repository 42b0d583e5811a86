"""Give the log a new epoch, after a backup was restored."""

from typing import Any

from django.core.management.base import BaseCommand

from notifications.management.refusals import refusals_as_command_errors
from notifications.services.epoch import begin_epoch


class Command(BaseCommand):
    """Tell all clients that positions from before mean nothing any more."""

    help = (
        "Begin a new epoch of the log: after a backup was restored or the log was reset, and "
        "before servers run on it. docs/operations.md says how."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the new epoch and print both."""
        with refusals_as_command_errors():
            old, new = begin_epoch()
        self.stdout.write(f"old {old}\nnew {new}")
