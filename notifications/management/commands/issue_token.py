"""Issue an access token without a password."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.tokens import issue_access_token
from notifications.management.holders import user_named
from notifications.management.refusals import refusals_as_command_errors


class Command(BaseCommand):
    """Print an access token of a user, alone on stdout."""

    help = "Print an access token of a user, for a test or a script."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add whose."""
        parser.add_argument("user", help="the user name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Issue it."""
        with refusals_as_command_errors():
            user = user_named(options["user"])
        self.stdout.write(issue_access_token(user).access)
