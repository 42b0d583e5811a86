"""Run the sweeps once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from notifications.management.refusals import refusals_as_command_errors
from notifications.services.sweeps import SWEEPS, run_sweep


class Command(BaseCommand):
    """Run every sweep once, now; safe beside Celery beat and servers that do the same."""

    help = "Do now what time makes necessary: expiry, retention, stale sessions, the outbox."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run them in their order, whichever fail, and print how many rows each changed.

        Raises CommandError with what each one that failed met.
        """
        failed: list[str] = []
        for name in SWEEPS:
            try:
                with refusals_as_command_errors():
                    changed = run_sweep(name, now=timezone.now())
            except CommandError as error:
                failed.append(f"{name}: {error}")
            else:
                self.stdout.write(f"{name}: {changed}")
        if failed:
            raise CommandError("These sweeps failed; the others ran. " + " ".join(failed))
