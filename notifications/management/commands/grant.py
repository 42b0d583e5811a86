"""Give and take grants."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import ApiKey, User
from accounts.services import grant, withdraw
from notifications.management.holders import holder_named
from notifications.management.refusals import refusals_as_command_errors


class Command(BaseCommand):
    """Change what a user or an API key may do; without a pattern, show it."""

    help = "Give grants to a user or an API key, take them with --revoke, or list them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add whom, what, and the direction."""
        parser.add_argument("name", help="the name of a user or an API key")
        for action in ("subscribe", "publish"):
            parser.add_argument(
                f"--{action}",
                metavar="PATTERN",
                action="append",
                default=[],
                help=f"a pattern to {action} to (repeatable)",
            )
        parser.add_argument("--revoke", action="store_true", help="take the grants away")
        parser.add_argument("--kind", choices=("user", "key"), help="when both have this name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Give, take or list."""
        patterns = {"publish": options["publish"], "subscribe": options["subscribe"]}
        with refusals_as_command_errors():
            holder = holder_named(options["name"], options["kind"])
            if not any(patterns.values()):
                if options["revoke"]:
                    raise CommandError("Name what to revoke with --subscribe or --publish.")
                self._list(holder)
            elif options["revoke"]:
                taken = withdraw(holder, **patterns)
                if not taken:
                    raise CommandError(
                        f"{options['name']} has none of these grants; "
                        f"`manage.py grant {options['name']}` lists those it has."
                    )
                self.stdout.write(f"{taken} taken from {options['name']}")
            else:
                given = grant(holder, **patterns)
                self.stdout.write(f"{len(given)} new for {options['name']}")

    def _list(self, holder: User | ApiKey) -> None:
        for action, pattern in holder.topic_grants.values_list("action", "pattern"):
            self.stdout.write(f"{action} {pattern}")
